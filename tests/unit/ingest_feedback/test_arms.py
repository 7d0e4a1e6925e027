"""The arm of an event: its token's, its interaction's, or the one that its unit was in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.events import Arm
from optimizer.core.serving.assignment import bucket, cohort_start
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.rows.ingestion import BY_UNIT, CANDIDATE, VARIANT, Installation, hmac_unit, hours, token
from tests.stores import FAMILY, NOW, rollout


class TestTokens:
    def test_the_arm_is_the_tokens(self, here: Installation) -> None:
        arm: dict[str, Any] = {"variant": CANDIDATE, "rollout": "ro_1", "role": "candidate", "stage": 0.1}
        arm["cohort_start"] = cohort_start(NOW, 60)
        here.send({"id": "a", "score": 1, "assignment": token(**arm)})
        (event,) = here.feedback()
        assert event.arm == Arm(family=FAMILY, unit_hmac=hmac_unit("u1"), **arm)

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

    def test_keys_of_the_installation_that_cannot_be_read_are_no_fault_of_a_token(
        self, here: Installation, tmp_path: Path
    ) -> None:
        settings, files = load_settings("dev", tmp_path, token_keys="no key"), FamilyFiles(tmp_path / "families")
        intake = wiring.open_intake(settings, here.store, here.clock, files, actor="ann")
        with pytest.raises(InvalidInput, match="Key 1 of DETENT_TOKEN_KEYS"):
            intake.take([{"assignment": token(), "score": 1}])

    def test_naming_what_the_token_says_is_no_mistake(self, here: Installation) -> None:
        assert here.send({"assignment": token(), **BY_UNIT, "variant": VARIANT, "score": 1})["accepted"] == 1

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
        assert here.refusal({**BY_UNIT, "variant": "v_nowhere", "score": 1}) == "unknown_variant"


class TestRecomputedArms:
    SALT = "salt"

    @pytest.fixture
    def rolling(self, install: Callable[..., Installation]) -> Installation:
        """A tenth of the units got the candidate in the first hour, a half from the second on."""
        stages = ((0.1, NOW, hours(1), hours(10)), (0.5, hours(2), None, None))
        history = tuple(
            {"share": share, "from": at.isoformat(), "to": to and to.isoformat()}
            | {"clock_from": hours(start).isoformat(), "clock_to": end and end.isoformat()}
            for start, (share, at, to, end) in zip((0, 20), stages, strict=True)
        )
        arms = {"champion": VARIANT, "candidate": CANDIDATE, "salt": self.SALT}
        one = rollout(**arms, stage_history=history, settings={"cohort_minutes": 60})
        here = install(scale=10.0)
        here.store.write(lambda tx: here.store.rollouts.add(tx, one))
        here.clock.pass_time(timedelta(hours=3))
        return here

    def unit(self, low: float, high: float) -> str:
        """A unit whose bucket lies between two shares."""
        return next(u for i in range(10_000) if low <= bucket(self.SALT, u := f"unit {i}") / 2**32 < high)

    def event(self, unit: str, at: float, variant: str, **changes: Any) -> dict[str, Any]:
        said = {"family": FAMILY, "unit": unit, "rollout": "ro_1", "variant": variant, "success": True}
        return {**said, "assigned_at": hours(at).isoformat(), **changes}

    def test_a_unit_counts_in_the_arm_that_salt_and_history_give(self, rolling: Installation) -> None:
        unit = self.unit(0.1, 0.5)
        events = self.event(unit, 0.5, VARIANT, id="a"), self.event(unit, 2.55, CANDIDATE, id="b")
        assert rolling.send(*events)["accepted"] == 2
        early, late = rolling.feedback()
        assert (early.arm.role, early.arm.stage, early.arm.rollout) == ("champion", 0.1, "ro_1")
        assert (late.arm.role, late.arm.stage, late.arm.unit_hmac) == ("candidate", 0.5, hmac_unit(unit))
        assert early.arm.cohort_start == hours(5)  # half an hour at ten times the speed
        assert late.arm.cohort_start == hours(25)

    def test_a_stage_that_ended_within_a_minute_counts_for_who_had_not_heard(self, rolling: Installation) -> None:
        unit, second = self.unit(0.1, 0.5), 1 / 3600
        in_time = rolling.send(self.event(unit, 1 + 59 * second, VARIANT, id="a"))
        assert in_time == {"accepted": 1, "duplicates": 0, "rejected": []}
        (event,) = rolling.feedback()
        assert (event.arm.role, event.arm.stage, event.arm.rollout) == ("champion", 0.1, "ro_1")
        assert event.arm.cohort_start == hours(9)  # that of its last moment
        late = rolling.send(self.event(unit, 1 + 60 * second, VARIANT, id="b"))
        assert late["in_no_arm"] == 1

    def test_what_fits_two_stages_counts_in_the_later_one(self, rolling: Installation) -> None:
        start, change = hours(0).isoformat(), hours(2).isoformat()
        stages = [{"share": 0.1, "from": start, "to": change}, {"share": 0.5, "from": change, "to": None}]
        history = tuple({**stage, "clock_from": start, "clock_to": None} for stage in stages)
        arms = {"champion": VARIANT, "candidate": CANDIDATE, "salt": self.SALT}
        one = rollout("ro_2", **arms, stage_history=history, status="failed")
        rolling.store.write(lambda tx: rolling.store.rollouts.add(tx, one))
        between, always = self.unit(0.1, 0.5), self.unit(0.0, 0.1)
        for id, unit, variant in (("a", between, VARIANT), ("b", between, CANDIDATE), ("c", always, CANDIDATE)):
            rolling.send(self.event(unit, 2.001, variant, rollout="ro_2", id=id))
        assert {event.id: event.arm.stage for event in rolling.feedback()} == {"a": 0.1, "b": 0.5, "c": 0.5}

    def test_any_other_claim_is_kept_in_no_arm_and_counted_as_such(self, rolling: Installation) -> None:
        unit = self.unit(0.1, 0.5)
        claims = [
            self.event(unit, 0.5, CANDIDATE),
            self.event(unit, 2.5, VARIANT),
            self.event(unit, 1.5, VARIANT),  # no stage was served then
            self.event(unit, -1, VARIANT),
        ]
        answer = rolling.send(*claims)
        assert (answer["accepted"], answer["in_no_arm"]) == (4, 4)
        arms = [event.arm for event in rolling.feedback()]
        assert [arm.variant for arm in arms] == [CANDIDATE, VARIANT, VARIANT, VARIANT]
        assert {(arm.rollout, arm.role, arm.stage, arm.recomputed) for arm in arms} == {(None, None, None, False)}

    def test_a_rollout_or_variant_that_the_family_does_not_have_is_refused(self, rolling: Installation) -> None:
        unit = self.unit(0.1, 0.5)
        assert rolling.refusal(self.event(unit, 0.5, VARIANT, rollout="ro_9")) == "assignment_mismatch"
        assert rolling.refusal(self.event(unit, 0.5, VARIANT, family="triage")) == "assignment_mismatch"
        assert rolling.refusal(self.event(unit, 0.5, "v_nowhere")) == "unknown_variant"

    def test_nobody_is_in_an_arm_after_the_lease_has_run_out(self, rolling: Installation) -> None:
        rolling.store.write(lambda tx: rolling.store.rollouts.renew_lease(tx, "ro_1", hours(2.5)))
        unit = self.unit(0.1, 0.5)
        assert rolling.send(self.event(unit, 2.4, CANDIDATE))["accepted"] == 1
        assert rolling.send(self.event(unit, 2.6, CANDIDATE))["in_no_arm"] == 1
        rolling.store.write(lambda tx: rolling.store.rollouts.renew_lease(tx, "ro_1", hours(3.1)))
        assert rolling.send(self.event(unit, 3.2, CANDIDATE))["accepted"] == 1  # a sender's clock may be ahead of ours
