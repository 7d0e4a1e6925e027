"""What becomes of an event on its way in."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, InvalidInput, KeyReused, NotFound
from optimizer.core.dataset.examples import group_of, split_of
from optimizer.core.feedback.events import Arm
from optimizer.core.feedback.fields import FIELDS
from optimizer.core.serving.assignment import bucket, cohort_start
from optimizer.jobs.dataset.release_example import release_example
from optimizer.jobs.feedback.ingest_feedback import AT_ONCE_CHARS, LONG_AT_ONCE, Turns
from optimizer.jobs.feedback.keep_events import keep_all
from tests.ingestion import VARIANT, Installation, hmac_unit, hours, temporary_installation, token
from tests.stores import FAMILY, NOW, minutes, new_database, rollout

BY_UNIT = {"family": FAMILY, "unit": "u1"}
CANDIDATE = "v_bbbbbbbbbbbb"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    store = new_database(tmp_path)
    yield Installation(store)
    store.close()


class TestKinds:
    @pytest.mark.parametrize(
        "field",
        [
            {"output": ""},
            {"latency_ms": 0},
            {"time_to_first_token_ms": 1.5},
            {"cost_usd": 0.1},
            {"input_tokens": 1},
            {"output_tokens": 0},
            {"error": "x"},
        ],
        ids=lambda field: next(iter(field)),
    )
    def test_anything_measured_makes_an_interaction(self, here: Installation, field: dict[str, Any]) -> None:
        assert here.send({"id": "a", "assignment": token(), **field})["accepted"] == 1
        assert here.interaction("a").arm.variant == VARIANT
        assert here.feedback() == []

    @pytest.mark.parametrize(
        "field",
        [{"score": 0}, {"success": False}, {"label": "x"}, {"expected": {"summary": "x"}}],
        ids=lambda field: next(iter(field)),
    )
    def test_any_outcome_makes_a_feedback_event(self, here: Installation, field: dict[str, Any]) -> None:
        assert here.send({"id": "a", "assignment": token(), **field})["accepted"] == 1
        assert [event.id for event in here.feedback()] == ["a"]
        assert here.n_interactions() == 0

    def test_an_event_may_be_both_under_one_id_and_counts_once(self, here: Installation) -> None:
        event = {"id": "a", "assignment": token(), "output": "text", "score": 0.5}
        assert here.send(event) == {"accepted": 1, "duplicates": 0, "rejected": []}
        assert here.interaction("a").output == "text"
        assert [(event.id, event.interaction, event.score) for event in here.feedback()] == [("a", "a", 0.5)]

    @pytest.mark.parametrize(
        ("sent", "began"),
        [
            ({"latency_ms": 1500}, NOW - timedelta(seconds=1.5)),
            ({"error": "timeout"}, NOW),
            ({"latency_ms": 1500, "occurred_at": "2026-11-20T08:00:00Z"}, NOW.replace(hour=8)),
        ],
        ids=["latency", "no latency", "as sent"],
    )
    def test_an_interaction_began_when_it_says_else_its_latency_ago(
        self, here: Installation, sent: dict[str, Any], began: Any
    ) -> None:
        here.send({"id": "a", "assignment": token(), "success": True, **sent})
        assert here.interaction("a").occurred_at == began
        assert here.feedback()[0].occurred_at == (began if "occurred_at" in sent else NOW)

    def test_every_field_is_kept_as_it_was_sent(self, here: Installation) -> None:
        sent = {
            **{
                "id": "a",
                "assignment": token(),
                "input": {"document": "d"},
                "output": "o",
                "latency_ms": 5,
                "time_to_first_token_ms": 2,
            },
            **{
                "cost_usd": 0.001,
                "input_tokens": 7,
                "output_tokens": 3,
                "model": "m",
                "error": "cut off",
                "conversation": "c",
            },
            **{
                "occurred_at": "2026-11-20T09:30:00+02:00",
                "tags": {"plan": "free"},
                "label": "good",
                "source": "judge",
                "success": True,
            },
        }
        here.send(sent)
        interaction, (feedback,) = here.interaction("a"), here.feedback()
        assert (interaction.input, interaction.output, interaction.latency_ms, interaction.time_to_first_token_ms) == (
            {"document": "d"},
            "o",
            5,
            2,
        )
        assert (interaction.cost_usd, interaction.input_tokens, interaction.output_tokens) == (0.001, 7, 3)
        assert (interaction.model, interaction.error, interaction.conversation, interaction.tags) == (
            "m",
            "cut off",
            "c",
            {"plan": "free"},
        )
        assert interaction.occurred_at == NOW.replace(hour=7, minute=30)
        assert interaction.occurred_at.tzinfo is UTC
        assert (feedback.label, feedback.source, feedback.success, feedback.occurred_at) == (
            "good",
            "judge",
            True,
            interaction.occurred_at,
        )
        assert interaction.received_at == feedback.received_at == NOW

    def test_null_means_not_given(self, here: Installation) -> None:
        here.send(
            {
                "id": "a",
                "assignment": token(),
                "success": True,
                **{name: None for name in FIELDS if name not in ("id", "assignment", "success")},
            }
        )
        (event,) = here.feedback()
        assert (event.source, event.occurred_at, event.score) == ("user", NOW, None)
        assert here.n_interactions() == 0

    def test_an_event_without_an_id_is_given_one_and_is_never_a_duplicate(self, here: Installation) -> None:
        event = {"assignment": token(), "success": True}
        assert here.send(event, event)["accepted"] == 2
        assert all(event.id.startswith("fb_") for event in here.feedback())


class TestMalformed:
    @pytest.mark.parametrize(
        ("event", "says"),
        [
            (7, "JSON object"),
            (None, "JSON object"),
            ({**BY_UNIT}, "reports nothing"),
            ({"score": 1}, "belongs to nothing"),
            ({"family": FAMILY, "score": 1}, "belongs to nothing"),
            ({"unit": "u1", "score": 1}, "belongs to nothing"),
            ({**BY_UNIT, "sucess": True}, "/sucess is not a field"),
            ({**BY_UNIT, "score": 1.01}, "/score must be a number from 0 to 1"),
            ({**BY_UNIT, "score": -0.1}, "/score"),
            ({**BY_UNIT, "score": True}, "/score"),
            ({**BY_UNIT, "score": "1"}, "/score"),
            ({**BY_UNIT, "score": float("nan")}, "/score must be a finite number"),
            ({**BY_UNIT, "success": 1}, "/success must be true or false"),
            ({**BY_UNIT, "success": True, "source": "robot"}, "/source must be one of user, person, judge, system"),
            ({**BY_UNIT, "latency_ms": -1}, "/latency_ms"),
            ({**BY_UNIT, "latency_ms": float("inf")}, "/latency_ms"),
            ({**BY_UNIT, "input_tokens": 1.5}, "/input_tokens must be a whole number"),
            ({**BY_UNIT, "output": {"a": 1}}, "/output must be a text"),
            ({**BY_UNIT, "output": "a\x00b"}, "U+0000"),
            ({**BY_UNIT, "output": "a\ud800b"}, "surrogate"),
            ({**BY_UNIT, "output": "a", "parts": {}}, "/parts must be a list"),
            (
                {**BY_UNIT, "output": "a", "parts": [{"tier": 0}, {"confidence": 2}]},
                "in part 1 a field 'confidence' that must be a number",
            ),
            ({**BY_UNIT, "output": "a", "parts": [{"teir": 0}]}, "in part 0 the unknown field 'teir'"),
            ({**BY_UNIT, "output": "a", "parts": [{}] * 65}, "holds 65 parts"),
            ({**BY_UNIT, "success": True, "input": "text"}, "/input must be an object"),
            ({**BY_UNIT, "success": True, "tags": {"n": 2**60}}, "2^53"),
            ({**BY_UNIT, "expected": {}}, "/expected must be an object with at least one member"),
            ({**BY_UNIT, "expected": {"title": "x"}}, "/expected has no 'summary'"),
            ({**BY_UNIT, "expected": {"summary": "x"}, "input": {"text": "y"}}, "/input has no document"),
            ({**BY_UNIT, "success": True, "occurred_at": "yesterday"}, "/occurred_at must be a time"),
            ({**BY_UNIT, "success": True, "occurred_at": "2026-11-20T09:00:00"}, "with its zone"),
            ({**BY_UNIT, "success": True, "occurred_at": "2027-01-01T00:00:00Z"}, "future"),
            ({**BY_UNIT, "success": True, "id": ""}, "/id must be a text of 1 to 512"),
            ({**BY_UNIT, "success": True, "id": "x" * 513}, "/id"),
            ({**BY_UNIT, "success": True, "rollout": "ro_1"}, "assigned_at"),
            ({**BY_UNIT, "success": True, "assigned_at": "2026-11-20T09:00:00Z"}, "rollout"),
        ],
    )
    def test_the_answer_says_what_is_wrong(self, here: Installation, event: Any, says: str) -> None:
        answer = here.send(event)
        assert [r["type"] for r in answer["rejected"]] == ["malformed"]
        assert says in answer["rejected"][0]["detail"]
        assert here.feedback() == []

    def test_everything_wrong_is_named_at_once(self, here: Installation) -> None:
        (rejected,) = here.send({**BY_UNIT, "score": 2, "success": "yes", "colour": "red"})["rejected"]
        assert all(pointer in rejected["detail"] for pointer in ("/score", "/success", "/colour"))

    def test_endless_nesting_is_refused(self, here: Installation) -> None:
        deep: dict[str, Any] = {}
        for _ in range(5000):
            deep = {"a": deep}
        assert here.refusal({**BY_UNIT, "success": True, "tags": deep}) == "malformed"

    def test_the_sound_ones_of_a_batch_are_kept_and_the_others_named_by_index(self, here: Installation) -> None:
        answer = here.send(
            {"assignment": token(), "score": 1},
            {"score": 1},
            {"interaction": "nowhere", "score": 1},
            {"family": "nobody", "unit": "u", "score": 1},
        )
        assert answer["accepted"] == 1
        assert [(r["index"], r["type"]) for r in answer["rejected"]] == [
            (1, "malformed"),
            (2, "unknown_interaction"),
            (3, "unknown_family"),
        ]


class TestTokens:
    def test_the_arm_is_the_tokens(self, here: Installation) -> None:
        start = cohort_start(NOW, 60)
        here.send(
            {
                "id": "a",
                "score": 1,
                "assignment": token(variant=CANDIDATE, rollout="ro_1", role="candidate", stage=0.1, cohort_start=start),
            }
        )
        (event,) = here.feedback()
        assert event.arm == Arm(
            family=FAMILY,
            variant=CANDIDATE,
            rollout="ro_1",
            role="candidate",
            stage=0.1,
            cohort_start=start,
            unit_hmac=hmac_unit("u1"),
        )

    @pytest.mark.parametrize(
        ("event", "type"),
        [
            ({"assignment": token(keys=[("k1", b"2" * 32)])}, "forged_token"),
            ({"assignment": token() + "A"}, "forged_token"),
            ({"assignment": token(keys=[("k9", b"1" * 32)])}, "unknown_key"),
            ({"assignment": "nonsense"}, "malformed_token"),
            ({"assignment": token(issued_at=NOW - timedelta(days=31))}, "expired_token"),
            ({"assignment": token(), "family": "triage"}, "foreign_token"),
            ({"assignment": token(family="nobody")}, "unknown_family"),
            ({"assignment": token(), "variant": CANDIDATE}, "assignment_mismatch"),
            ({"assignment": token(), "unit": "u2"}, "assignment_mismatch"),
            ({"assignment": token(), "rollout": "ro_1"}, "assignment_mismatch"),
        ],
    )
    def test_a_token_that_does_not_fit_is_refused(self, here: Installation, event: dict[str, Any], type: str) -> None:
        assert here.refusal({**event, "score": 1}) == type
        assert here.feedback() == []

    def test_naming_what_the_token_says_is_no_mistake(self, here: Installation) -> None:
        assert (
            here.send({"assignment": token(), "family": FAMILY, "variant": VARIANT, "unit": "u1", "score": 1})[
                "accepted"
            ]
            == 1
        )

    def test_the_unit_is_kept_as_its_hmac_only(self, here: Installation, tmp_path: Path) -> None:
        here.send({**BY_UNIT, "unit": "anna@example.org", "conversation": "anna@example.org", "output": "x", "id": "a"})
        assert here.interaction("a").conversation == hmac_unit("anna@example.org")
        here.store.close()
        assert b"anna@example.org" not in (tmp_path / "detent.db").read_bytes()


class TestInteractions:
    def test_an_outcome_takes_the_arm_of_the_interaction_it_names(self, here: Installation) -> None:
        here.send({"id": "in", "assignment": token(rollout="ro_1", stage=0.1), "output": "x"})
        assert here.send({"interaction": "in", "success": True})["accepted"] == 1
        (event,) = here.feedback()
        assert event.arm == here.interaction("in").arm
        assert event.interaction == "in"

    def test_both_may_come_in_one_request_in_any_order(self, here: Installation) -> None:
        answer = here.send({"interaction": "in", "success": True}, {"id": "in", "assignment": token(), "output": "x"})
        assert answer == {"accepted": 2, "duplicates": 0, "rejected": []}

    def test_an_interaction_that_nobody_reported_is_named(self, here: Installation) -> None:
        assert here.refusal({"interaction": "in", "success": True}) == "unknown_interaction"
        assert here.refusal({"interaction": "in", "family": FAMILY, "success": True}) == "unknown_interaction"

    def test_an_id_that_families_share_needs_the_family(self, here: Installation) -> None:
        here.send(*({"id": "in", "family": name, "unit": "u1", "output": "x"} for name in (FAMILY, "triage")))
        assert here.refusal({"interaction": "in", "success": True}) == "unknown_interaction"
        assert here.send({"interaction": "in", "family": "triage", "success": True})["accepted"] == 1
        assert here.feedback()[0].arm.family == "triage"

    @pytest.mark.parametrize(
        "event",
        [
            {"assignment": token("u2")},
            {"assignment": token(variant=CANDIDATE)},
            {"unit": "u2", "family": FAMILY},
            {"variant": CANDIDATE},
        ],
        ids=["token of another unit", "token of another variant", "another unit", "another variant"],
    )
    def test_an_outcome_of_another_arm_is_refused(self, here: Installation, event: dict[str, Any]) -> None:
        here.send({"id": "in", "assignment": token(), "output": "x"})
        assert here.refusal({**event, "interaction": "in", "success": True}) == "assignment_mismatch"

    def test_a_report_may_name_its_interaction_instead_of_an_id(self, here: Installation) -> None:
        here.send({"interaction": "in", "assignment": token(), "output": "x", "success": True})
        assert here.interaction("in").output == "x"
        assert here.feedback()[0].interaction == "in"

    def test_what_was_reported_first_of_an_interaction_stays_and_the_outcome_counts(self, here: Installation) -> None:
        here.send({"id": "in", "assignment": token(), "output": "x", "latency_ms": 10})
        assert here.send({"interaction": "in", "latency_ms": 90, "success": True})["accepted"] == 1
        assert here.interaction("in").latency_ms == 10
        assert here.n_interactions() == 1
        assert here.feedback()[0].success is True
        assert here.refusal({"interaction": "in", "latency_ms": 90}) == "id_conflict"


class TestUnits:
    def test_family_and_unit_are_enough(self, here: Installation) -> None:
        assert here.send({**BY_UNIT, "score": 1}, {**BY_UNIT, "variant": VARIANT, "score": 1})["accepted"] == 2
        assert [event.arm for event in here.feedback()] == [
            Arm(family=FAMILY, unit_hmac=hmac_unit("u1"), variant=v)
            for v in sorted((None, VARIANT), key=lambda v: v is not None)
        ]

    def test_a_variant_that_the_family_does_not_have_is_refused(self, here: Installation) -> None:
        assert here.refusal({**BY_UNIT, "variant": CANDIDATE, "score": 1}) == "unknown_variant"


class TestRecomputedArms:
    SALT = "salt"

    @pytest.fixture
    def rolling(self, tmp_path: Path) -> Iterator[Installation]:
        store = new_database(tmp_path)
        history = (
            {
                "share": 0.1,
                "from": NOW.isoformat(),
                "to": hours(1).isoformat(),
                "clock_from": NOW.isoformat(),
                "clock_to": hours(10).isoformat(),
            },
            {
                "share": 0.5,
                "from": hours(2).isoformat(),
                "to": None,
                "clock_from": hours(20).isoformat(),
                "clock_to": None,
            },
        )
        one = rollout(
            champion=VARIANT,
            candidate=CANDIDATE,
            salt=self.SALT,
            stage_history=history,
            settings={"cohort_minutes": 60},
        )
        store.write(lambda tx: store.rollouts.add(tx, one))
        here = Installation(store, scale=10.0)
        here.clock.pass_time(timedelta(hours=3))
        yield here
        store.close()

    def unit(self, low: float, high: float) -> str:
        """A unit whose bucket lies between two shares."""
        return next(u for i in range(10_000) if low <= bucket(self.SALT, u := f"unit {i}") / 2**32 < high)

    def event(self, unit: str, at: float, variant: str, **changes: Any) -> dict[str, Any]:
        said = {
            "family": FAMILY,
            "unit": unit,
            "rollout": "ro_1",
            "variant": variant,
            "assigned_at": hours(at).isoformat(),
            "success": True,
        }
        return {**said, **changes}

    def test_a_unit_counts_in_the_arm_that_salt_and_history_give(self, rolling: Installation) -> None:
        unit = self.unit(0.1, 0.5)
        assert (
            rolling.send(self.event(unit, 0.5, VARIANT, id="a"), self.event(unit, 2.55, CANDIDATE, id="b"))["accepted"]
            == 2
        )
        early, late = rolling.feedback()
        assert (early.arm.role, early.arm.stage, early.arm.rollout) == ("champion", 0.1, "ro_1")
        assert (late.arm.role, late.arm.stage, late.arm.unit_hmac) == ("candidate", 0.5, hmac_unit(unit))
        assert early.arm.cohort_start == hours(5)  # half an hour at ten times the speed
        assert late.arm.cohort_start == hours(25)

    def test_any_other_claim_is_refused(self, rolling: Installation) -> None:
        unit = self.unit(0.1, 0.5)
        for claim in (
            self.event(unit, 0.5, CANDIDATE),
            self.event(unit, 2.5, VARIANT),
            self.event(unit, 1.5, VARIANT),  # no stage was served then
            self.event(unit, -1, VARIANT),
            self.event(unit, 0.5, VARIANT, rollout="ro_9"),
            self.event(unit, 0.5, VARIANT, family="triage"),
        ):
            assert rolling.refusal(claim) == "assignment_mismatch"

    def test_nobody_is_in_an_arm_after_the_lease_has_run_out(self, rolling: Installation) -> None:
        rolling.store.write(lambda tx: rolling.store.rollouts.renew_lease(tx, "ro_1", hours(2.5)))
        unit = self.unit(0.1, 0.5)
        assert rolling.send(self.event(unit, 2.4, CANDIDATE))["accepted"] == 1
        assert rolling.refusal(self.event(unit, 2.6, CANDIDATE)) == "assignment_mismatch"
        rolling.store.write(lambda tx: rolling.store.rollouts.renew_lease(tx, "ro_1", hours(3.1)))
        assert rolling.send(self.event(unit, 3.2, CANDIDATE))["accepted"] == 1  # a sender's clock may be ahead of ours


class TestUniqueness:
    def test_same_content_is_a_duplicate_and_other_content_a_conflict(self, here: Installation) -> None:
        event = {"id": "a", "assignment": token(), "success": True, "occurred_at": "2026-11-20T08:00:00Z"}
        assert here.send(event)["accepted"] == 1
        here.clock.pass_time(timedelta(hours=1))
        again = here.send(
            event,
            {**event, "success": False},
            {**event, "occurred_at": "2026-11-20T09:00:00+01:00"},
            {**event, "family": FAMILY},
        )
        assert (again["accepted"], again["duplicates"]) == (0, 3)
        assert [(r["index"], r["type"]) for r in again["rejected"]] == [(1, "id_conflict")]
        assert here.feedback()[0].received_at == NOW

    def test_an_id_names_one_event_whatever_its_kind(self, here: Installation) -> None:
        here.send({"id": "a", "assignment": token(), "output": "x"})
        assert here.refusal({"id": "a", "assignment": token(), "success": True}) == "id_conflict"
        assert here.refusal({"id": "a", "assignment": token(), "output": "x", "success": True}) == "id_conflict"
        assert here.feedback() == []

    def test_the_same_content_under_a_newer_token_of_the_arm_is_a_duplicate(self, here: Installation) -> None:
        here.send({"id": "a", "assignment": token(), "success": True})
        assert here.send({"id": "a", "assignment": token(issued_at=minutes(5)), "success": True})["duplicates"] == 1
        assert here.refusal({"id": "a", "assignment": token("u2"), "success": True}) == "id_conflict"

    def test_families_do_not_share_ids(self, here: Installation) -> None:
        assert (
            here.send(*({"id": "a", "family": name, "unit": "u", "score": 1} for name in (FAMILY, "triage")))[
                "accepted"
            ]
            == 2
        )


class TestLongTexts:
    @pytest.mark.parametrize(
        ("event", "pointer"),
        [
            ({"output": "x" * 101}, "/output"),
            ({"output": "é" * 51}, "/output"),
            ({"input": {"document": "x" * 101}}, "/input/document"),
            ({"output": "x", "tags": {"a": ["b", "x" * 101]}}, "/tags/a/1"),
            ({"parts": [{"model": "m", "output": "x" * 101}]}, "/parts/0/output"),
        ],
        ids=["text", "bytes and not characters", "input", "nested", "part"],
    )
    def test_a_text_that_is_too_long_is_refused_alone_with_its_place(
        self, here: Installation, event: dict[str, Any], pointer: str
    ) -> None:
        intake = replace(here.intake(), text_bytes=100)
        event = {"family": FAMILY, "unit": "u", "latency_ms": 1, **event}
        (alone,) = intake.take([event])["rejected"]
        assert (alone["type"], [fault["pointer"] for fault in alone["errors"]]) == ("text_too_long", [pointer])
        answer = intake.take([event, {"family": FAMILY, "unit": "u", "output": "x" * 100}])
        assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [0])
        assert pointer in answer["rejected"][0]["detail"]
        assert "limits.event_text_bytes" in answer["rejected"][0]["detail"]


class TestIdempotency:
    EVENT = {"assignment": token(), "success": True}  # noqa: RUF012 - without an id only the key tells a repetition

    def test_the_same_key_and_body_give_the_first_answer_again(self, here: Installation) -> None:
        first = here.send(self.EVENT, {"x": 1}, idempotency=("app", "key", "hash"))
        assert here.send(self.EVENT, {"x": 1}, idempotency=("app", "key", "hash")) == first
        assert first["accepted"] == 1
        assert len(here.feedback()) == 1

    def test_another_body_under_the_same_key_is_refused(self, here: Installation) -> None:
        here.send(self.EVENT, idempotency=("app", "key", "hash"))
        with pytest.raises(KeyReused, match="key") as refused:
            here.send(self.EVENT, idempotency=("app", "key", "other"))
        assert refused.value.slug == "idempotency-key-reused"
        assert isinstance(refused.value, InvalidInput)
        assert len(here.feedback()) == 1

    def test_senders_do_not_share_keys(self, here: Installation) -> None:
        here.send(self.EVENT, idempotency=("app", "key", "hash"))
        assert here.send(self.EVENT, idempotency=("other", "key", "other hash"))["accepted"] == 1


class TestPersonalData:
    def test_masked_texts_are_all_that_reaches_the_disk(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, mask=["email"])
        secret = "anna@example.org"
        here.send(
            {
                **{
                    "id": "a",
                    "assignment": token(),
                    "input": {"document": f"From {secret}"},
                    "output": secret,
                    "error": secret,
                    "label": secret,
                },
                **{"expected": {"summary": secret}, "tags": {secret: [secret]}, "conversation": secret},
                "parts": [{"model": "m", "output": secret, "error": secret}],
            }
        )
        kept = here.interaction("a")
        assert kept.input == {"document": "From [email]"}
        assert (kept.output, kept.error, kept.conversation, kept.tags) == (
            "[email]",
            "[email]",
            "[email]",
            {"[email]": ["[email]"]},
        )
        assert (here.feedback()[0].label, here.feedback()[0].expected) == ("[email]", {"summary": "[email]"})
        assert kept.parts == [{"model": "m", "output": "[email]", "error": "[email]"}]
        store.close()
        assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_an_outcome_that_names_only_its_interaction_is_masked_before_the_transaction(self, tmp_path: Path) -> None:
        here = Installation(new_database(tmp_path), mask=["email"])
        here.send({"id": "in", "assignment": token(), "output": "x"})
        secret = {"interaction": "beside", "label": "berta@example.org"}
        beside = {"id": "beside", "assignment": token(), "output": "y"}
        request = here.intake().request()
        reads = request.read([{"interaction": "in", "label": "anna@example.org"}, secret, beside])
        assert [read.report.get("label") for read in reads] == ["[email]", "[email]", None]
        assert here.store.write(lambda tx: request.keep(tx, reads))["accepted"] == 3

    def test_an_outcome_masked_for_another_family_than_its_interaction_has_by_then_is_not_kept(
        self, tmp_path: Path
    ) -> None:
        here = Installation(new_database(tmp_path), mask=["email"])
        here.send({"id": "in", "family": "triage", "unit": "u1", "output": "x"})
        request = here.intake().request()
        reads = request.read([{"interaction": "in", "label": "anna@example.org"}])
        others = [replace(read, read_for=FAMILY) for read in reads]
        answer = here.store.write(lambda tx: request.keep(tx, others))
        assert [one["type"] for one in answer["rejected"]] == ["unknown_interaction"]
        assert here.feedback() == []

    def test_the_answer_that_an_idempotency_key_keeps_quotes_no_personal_data(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, mask=["email"])
        secret = "anna@example.org"
        refused = (
            {secret: 1},
            {**BY_UNIT, "family": secret, "score": 1},
            {**BY_UNIT, "variant": secret, "score": 1},
            {**BY_UNIT, secret: 1},
        )
        answer = here.send(*refused, idempotency=("app", "key", "hash"))
        assert len(answer["rejected"]) == len(refused)
        assert not any("errors" in one for one in answer["rejected"]), "of a list no answer shows them"
        alone = here.send(refused[0], idempotency=("app", "another key", "hash"))
        assert "[email]" in alone["rejected"][0]["errors"][0]["pointer"]
        store.close()
        assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_metadata_keeps_figures_and_no_text(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, store="metadata")
        here.send(
            {
                **{
                    "id": "a",
                    "assignment": token(),
                    "input": {"document": "d"},
                    "output": "o",
                    "error": "e",
                    "label": "l",
                    "tags": {"t": 1},
                },
                **{"expected": {"summary": "s"}, "latency_ms": 5, "success": False},
                "parts": [{"model": "m", "output": "o", "cost_usd": 0.5}],
            }
        )
        kept, (outcome,) = here.interaction("a"), here.feedback()
        assert (kept.input, kept.output, kept.tags, kept.latency_ms) == (None, None, {}, 5)
        assert kept.error is not None
        assert kept.error != "e"
        assert kept.parts == [{"model": "m", "cost_usd": 0.5}]
        assert (outcome.label, outcome.expected, outcome.success) == (None, None, False)
        assert here.examples() == []
        store.close()


def document(split: str, n: int = 0) -> str:
    """The n-th text whose group falls into a split."""
    return [text for i in range(200) if split_of(group_of({"document": (text := f"text {i}")}, None)) == split][n]


class TestCorrections:
    def test_a_correction_with_its_input_becomes_an_example_that_waits_for_a_person(self, here: Installation) -> None:
        here.send(
            {
                "id": "a",
                "assignment": token(),
                "input": {"document": document("train"), "more": 1},
                "expected": {"summary": "better"},
            }
        )
        (example,) = here.examples()
        assert (example.input, example.expected, example.split) == (
            {"document": document("train")},
            {"summary": "better"},
            "train",
        )
        assert (example.origin, example.released, example.unit_hmac) == ("correction", False, hmac_unit("u1"))
        (review,) = here.reviews()
        assert (review["kind"], review["subject"], review["family"], review["status"]) == (
            "release_example",
            example.id,
            FAMILY,
            "open",
        )

    def test_the_input_may_be_that_of_its_interaction(self, here: Installation) -> None:
        here.send({"id": "in", "assignment": token(), "input": {"document": document("dev")}, "output": "x"})
        here.send({"interaction": "in", "expected": {"summary": "better"}})
        (example,) = here.examples()
        assert (example.split, example.interaction) == ("dev", "in")

    def test_the_input_may_come_in_the_same_request(self, here: Installation) -> None:
        report = {"id": "in", "assignment": token(), "input": {"document": document("train")}, "output": "x"}
        assert here.send({"interaction": "in", "expected": {"summary": "better"}}, report)["accepted"] == 2
        assert len(here.examples()) == 1

    def test_without_any_input_it_is_feedback_alone(self, here: Installation) -> None:
        assert here.send({"assignment": token(), "expected": {"summary": "better"}})["accepted"] == 1
        assert here.examples() == []

    @pytest.mark.parametrize("more", [{}, {"input": {"document": "x"}}], ids=["alone", "with its input"])
    def test_a_label_that_the_family_does_not_have_is_refused_and_not_quoted(
        self, here: Installation, more: dict[str, Any]
    ) -> None:
        output = here.families[FAMILY].output.model_copy(update={"parser": "label", "labels": ("billing", "technical")})
        here.families = {FAMILY: here.families[FAMILY].model_copy(update={"output": output})}
        answer = here.send(
            {"assignment": token(), "expected": {"summary": "bilding"}, **more},
            {"assignment": token(), "expected": {"summary": "billing"}},
        )
        (refused,) = answer["rejected"]
        assert (answer["accepted"], refused["index"], refused["type"]) == (1, 0, "malformed")
        assert refused["detail"] == f"/expected has as 'summary' no label of family {FAMILY!r}; did you mean 'billing'?"

    def test_no_review_shows_the_holdout(self, here: Installation) -> None:
        here.send(
            {"assignment": token(), "input": {"document": document("holdout")}, "expected": {"summary": "better"}}
        )
        with here.store.read() as tx:
            assert here.store.examples.counts(tx, FAMILY) == {"train": 0, "dev": 0, "holdout": 1}
        assert here.reviews() == []

    def test_families_that_trust_their_users_need_no_review(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, examples_from="any")
        here.send({"assignment": token(), "input": {"document": document("train")}, "expected": {"summary": "better"}})
        assert [example.released for example in here.examples()] == [True]
        assert here.reviews() == []
        store.close()

    def test_sending_it_again_makes_no_second_example(self, here: Installation) -> None:
        event = {
            "id": "a",
            "assignment": token(),
            "input": {"document": document("train")},
            "expected": {"summary": "better"},
        }
        here.send(event, event)
        here.send(event)
        assert (len(here.examples()), len(here.reviews())) == (1, 1)


class TestRelease:
    @pytest.fixture
    def asked(self, here: Installation) -> Installation:
        here.send({"assignment": token(), "input": {"document": document("train")}, "expected": {"summary": "better"}})
        return here

    def answer(self, here: Installation, answer: str, review: str | None = None) -> dict[str, Any]:
        return release_example(
            review or here.reviews()[0]["id"], answer, actor="ben", store=here.store, clock=here.clock
        )

    def test_a_person_releases_it_and_is_on_record(self, asked: Installation) -> None:
        assert self.answer(asked, "release")["answered_by"] == "ben"
        self.answer(asked, "release")
        assert [example.released for example in asked.examples()] == [True]
        with asked.store.read() as tx:
            (entry,) = asked.store.audit.page(tx, None, 9)[0]
        assert (entry["actor"], entry["action"], entry["detail"]["answer"]) == ("ben", "release_example", "release")

    def test_a_person_keeps_it_back_for_good(self, asked: Installation) -> None:
        self.answer(asked, "keep_back")
        with pytest.raises(Conflict):
            self.answer(asked, "release")
        assert [example.released for example in asked.examples()] == [False]

    def test_other_answers_and_reviews_are_refused(self, asked: Installation) -> None:
        with pytest.raises(InvalidInput, match="keep_back"):
            self.answer(asked, "maybe")
        with pytest.raises(NotFound):
            self.answer(asked, "release", "rv_9")
        asked.store.write(lambda tx: asked.store.reviews.open(tx, "rv_x", FAMILY, "approve_lesson", "x", {}, NOW))
        with pytest.raises(InvalidInput, match="approve_lesson"):
            self.answer(asked, "release", "rv_x")


def test_asyncio_callers_get_the_same_answer() -> None:
    with temporary_installation() as here:
        events = [{"id": "a", "assignment": token(), "success": True}, {"x": 1}]
        answer = asyncio.run(here.intake().atake(events))
        assert answer["accepted"] == 1
        assert here.send(*events) == {**answer, "accepted": 0, "duplicates": 1}


@pytest.mark.parametrize(
    ("chars", "privacy", "beside"),
    [
        pytest.param(100, {}, False, id="a short event"),
        pytest.param(20_000, {}, True, id="a long event"),
        pytest.param(100, {"mask": [{"pattern": "cust-[0-9]+"}]}, True, id="an expression of the user's own"),
    ],
)
def test_what_may_take_long_is_read_beside_the_event_loop(
    tmp_path: Path, chars: int, privacy: dict[str, Any], beside: bool
) -> None:
    here, readers = Installation(new_database(tmp_path), **privacy), []

    def hmac(unit: str) -> str:
        readers.append(threading.get_ident())
        return hmac_unit(unit)

    event = {"id": "a", **BY_UNIT, "output": "x" * chars}
    answer = asyncio.run(replace(here.intake(), hmac_unit=hmac).atake([event]))
    here.store.close()
    assert answer["accepted"] == 1
    assert (threading.get_ident() not in readers) is beside


LONG = "x" * (AT_ONCE_CHARS + 1)


def test_between_two_readings_on_the_event_loop_others_have_their_turn(tmp_path: Path) -> None:
    here, told = Installation(new_database(tmp_path)), []

    def hmac(unit: str) -> str:
        told.append("read")
        return hmac_unit(unit)

    async def serve(until: asyncio.Future[Any]) -> None:
        while not until.done():
            told.append("served")
            await asyncio.sleep(0)

    async def together() -> None:
        turns = Turns()
        asked = [
            replace(here.intake(), hmac_unit=hmac, turns=turns).atake([{"id": f"e{i}", **BY_UNIT, "output": LONG}])
            for i in range(5)
        ]
        all_of_them = asyncio.gather(*asked)
        await asyncio.gather(all_of_them, serve(all_of_them))

    asyncio.run(together())
    here.store.close()
    assert told.count("read") == 5
    assert ["read", "read"] not in [told[i : i + 2] for i in range(len(told))]


def test_few_long_readings_share_the_interpreter_with_what_serves(tmp_path: Path) -> None:
    here, under_way, most = Installation(new_database(tmp_path)), set[int](), [0]

    def hmac(unit: str) -> str:
        under_way.add(threading.get_ident())
        most[0] = max(most[0], len(under_way))
        time.sleep(0.02)
        under_way.discard(threading.get_ident())
        return hmac_unit(unit)

    async def together() -> None:
        turns = Turns()
        long = [{"id": f"e{i}", **BY_UNIT, "output": "x" * 20_000} for i in range(6)]
        await asyncio.gather(*(replace(here.intake(), hmac_unit=hmac, turns=turns).atake([event]) for event in long))

    asyncio.run(together())
    here.store.close()
    assert most[0] == LONG_AT_ONCE


def test_a_text_that_an_own_mask_does_not_get_through_is_rejected_alone(tmp_path: Path) -> None:
    here = Installation(new_database(tmp_path), mask=[{"pattern": "(x|xx)+$"}])
    answer = here.send({"id": "a", **BY_UNIT, "output": "x" * 60 + "z"}, {"id": "b", **BY_UNIT, "output": "fine"})
    assert (answer["accepted"], [one["type"] for one in answer["rejected"]]) == (1, ["mask_too_slow"])
    assert here.interaction("b").output == "fine"
    here.store.close()


class TestRequestsThatShareACommit:
    """What each is answered, and what is stored, is as if they had come one after the other."""

    REQUESTS: Sequence[Sequence[Mapping[str, Any]]] = (
        [{"id": "a", "assignment": "T", "output": "x", "success": True}, {"assignment": "T", "output": "unnamed"}],
        [{"id": "a", "assignment": "T", "output": "x", "success": True}, {"id": "b", "assignment": "T", "score": 0.5}],
        [{"id": "b", "assignment": "T", "score": 0.25}, {"id": "c", "assignment": "nonsense", "score": 1}],
        [{"id": "d", "assignment": "T", "expected": {"summary": "short"}, "input": {"document": "long"}}],
    )

    def told(self, here: Installation, *, together: bool) -> list[dict[str, Any]]:
        jobs = []
        for events in self.REQUESTS:
            sent = [{**one, "assignment": token() if one["assignment"] == "T" else one["assignment"]} for one in events]
            request = here.intake().request()
            jobs.append(request.job(request.read(sent)))
        assert all(job.together is keep_all for job in jobs)
        if together:
            return here.store.write(lambda tx: keep_all(tx, jobs))
        return [here.store.write(job) for job in jobs]

    def test_at_once_and_one_by_one_give_the_same(self, tmp_path: Path) -> None:
        found = []
        for name, together in (("one", True), ("other", False)):
            (tmp_path / name).mkdir()
            here = Installation(new_database(tmp_path / name))
            told = self.told(here, together=together)
            named = [event.id for event in here.feedback() if len(event.id) == 1]
            with here.store.read() as tx:
                n = here.store.examples.counts(tx, FAMILY)
            found.append((told, sorted(named), n))
            here.store.close()
        assert found[0] == found[1]
        told = found[0][0]
        assert [(one["accepted"], one["duplicates"]) for one in told] == [(2, 0), (1, 1), (0, 0), (1, 0)]
        assert [one["type"] for one in told[2]["rejected"]] == ["id_conflict", "malformed_token"]

    def test_an_outcome_of_an_interaction_is_kept_after_what_came_before_it(self, tmp_path: Path) -> None:
        here = Installation(new_database(tmp_path))
        request = here.intake().request()
        job = request.job(request.read([{"interaction": "in", "assignment": token(), "success": True}]))
        assert job.together is None

    def test_one_whose_idempotency_key_was_used_otherwise_keeps_no_other_from_being_kept(self, tmp_path: Path) -> None:
        here = Installation(new_database(tmp_path))
        here.intake(("me", "k", "one body")).take([{"id": "a", "assignment": token(), "score": 1}])
        jobs = []
        for id, keyed in (("b", None), ("c", ("me", "k", "another body")), ("d", None)):
            request = here.intake(keyed).request()
            jobs.append(request.job(request.read([{"id": id, "assignment": token(), "score": 1}])))

        async def sent() -> list[Any]:
            return await asyncio.gather(*(here.store.awrite(job) for job in jobs), return_exceptions=True)

        first, refused, last = asyncio.run(sent())
        assert (first["accepted"], last["accepted"]) == (1, 1)
        assert isinstance(refused, KeyReused)
        assert sorted(event.id for event in here.feedback()) == ["a", "b", "d"]

    def test_a_key_that_was_used_otherwise_takes_no_second_turn_of_all(self, tmp_path: Path) -> None:
        here = Installation(new_database(tmp_path))
        here.intake(("me", "k", "one body")).take([{"id": "a", "assignment": token(), "score": 1}])
        jobs = []
        for id, keyed in (("b", None), ("c", ("me", "k", "another body"))):
            request = here.intake(keyed).request()
            jobs.append(request.job(request.read([{"id": id, "assignment": token(), "score": 1}])))
        kept, refused = here.store.write(lambda tx: keep_all(tx, jobs))
        assert kept["accepted"] == 1
        assert isinstance(refused, KeyReused)
        with pytest.raises(KeyReused):
            here.store.write(jobs[1])
        assert sorted(event.id for event in here.feedback()) == ["a", "b"]
