"""What an event may hold, what it becomes, and what is said of one that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest

from optimizer.core.feedback.reported import FIELDS
from tests.rows.ingestion import BY_UNIT, VARIANT, Installation, token
from tests.stores import FAMILY, NOW, new_database


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("output", ""), ("latency_ms", 0), ("time_to_first_token_ms", 1.5), ("cost_usd", 0.1)),
            *(("input_tokens", 1), ("output_tokens", 0), ("error", "x")),
        ],
    )
    def test_anything_measured_makes_an_interaction(self, here: Installation, name: str, value: Any) -> None:
        assert here.send({"id": "a", "assignment": token(), name: value})["accepted"] == 1
        assert here.interaction("a").arm.variant == VARIANT
        assert here.feedback() == []

    @pytest.mark.parametrize(
        ("name", "value"), [("score", 0), ("success", False), ("label", "x"), ("expected", {"summary": "x"})]
    )
    def test_any_outcome_makes_a_feedback_event(self, here: Installation, name: str, value: Any) -> None:
        assert here.send({"id": "a", "assignment": token(), name: value})["accepted"] == 1
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
        times = {"latency_ms": 5, "time_to_first_token_ms": 2, "cost_usd": 0.001, "input_tokens": 7, "output_tokens": 3}
        texts = {"input": {"document": "d"}, "output": "o", "model": "m", "error": "cut off", "conversation": "c"}
        both, outcome = {"tags": {"plan": "free"}}, {"label": "good", "source": "judge", "success": True}
        at = {"occurred_at": "2026-11-20T09:30:00+02:00"}
        here.send({"id": "a", "assignment": token(), **times, **texts, **both, **outcome, **at})
        interaction, (feedback,) = here.interaction("a"), here.feedback()
        for event, sent in ((interaction, {**times, **texts, **both}), (feedback, {**outcome, **both})):
            assert {name: getattr(event, name) for name in sent} == sent
            assert (event.occurred_at, event.received_at) == (NOW.replace(hour=7, minute=30), NOW)
            assert event.occurred_at.tzinfo is UTC

    def test_null_means_not_given(self, here: Installation) -> None:
        here.send({**dict.fromkeys(FIELDS), "id": "a", "assignment": token(), "success": True})
        (event,) = here.feedback()
        assert (event.source, event.occurred_at, event.score) == ("user", NOW, None)
        assert here.n_interactions() == 0

    def test_an_event_without_an_id_is_given_one_and_is_never_a_duplicate(self, here: Installation) -> None:
        event = {"assignment": token(), "success": True}
        assert here.send(event, event)["accepted"] == 2
        assert all(event.id.startswith("fb_") for event in here.feedback())


class TestMalformed:
    @pytest.fixture(scope="class")
    def refusing(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
        """One that takes nothing of what it is sent."""
        with closing(new_database(tmp_path_factory.mktemp("refusing"))) as store:
            yield Installation(store)

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
            ({**BY_UNIT, "output": "a", "parts": [{}] * 513}, "holds 513 parts"),
            ({**BY_UNIT, "success": True, "input": "text"}, "/input must be an object"),
            ({**BY_UNIT, "success": True, "tags": {"n": 2**60}}, "2^53"),
            ({**BY_UNIT, "expected": {}}, "/expected must be an object with at least one member"),
            ({**BY_UNIT, "expected": {"title": "x"}}, "/expected has no 'summary'"),
            ({**BY_UNIT, "expected": {"summary": "x"}, "input": {"text": "y"}}, "the input 'document' is missing"),
            ({**BY_UNIT, "success": True, "occurred_at": "yesterday"}, "/occurred_at must be a time"),
            ({**BY_UNIT, "success": True, "occurred_at": "2026-11-20T09:00:00"}, "with its zone"),
            ({**BY_UNIT, "success": True, "occurred_at": "2027-01-01T00:00:00Z"}, "future"),
            ({**BY_UNIT, "success": True, "id": ""}, "/id must be a text of 1 to 512"),
            ({**BY_UNIT, "success": True, "id": "x" * 513}, "/id"),
            ({**BY_UNIT, "success": True, "rollout": "ro_1"}, "assigned_at"),
            ({**BY_UNIT, "success": True, "assigned_at": "2026-11-20T09:00:00Z"}, "rollout"),
        ],
    )
    def test_the_answer_says_what_is_wrong(self, refusing: Installation, event: Any, says: str) -> None:
        answer = refusing.send(event)
        assert [r["type"] for r in answer["rejected"]] == ["malformed"]
        assert says in answer["rejected"][0]["detail"]
        assert refusing.feedback() == []

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
