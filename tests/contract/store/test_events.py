"""What every ports.Events must do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Busy, Conflict, InvalidInput, KeyReused
from optimizer.core.feedback.events import FeedbackEvent, Interaction, LabelSummary, LaterParts
from optimizer.core.views.rollout_status import ArmTotals
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, minutes, reading, writing


def page(database: Database, **filters: object) -> tuple[list[FeedbackEvent], str | None]:
    usual = {"family": None, "variant": None, "since": None, "cursor": None, "limit": 9}
    return reading(database).events.page_of_feedback(**{**usual, **filters})


def whole(ask: Callable[[str | None], tuple[list[Any], str | None]]) -> list[Any]:
    """What all pages hold, one after the other; ``ask``: for the page behind a cursor."""
    seen, cursor = ask(None)
    while cursor is not None:
        following, cursor = ask(cursor)
        seen += following
    return seen


class TestAdding:
    @pytest.mark.parametrize(
        ("interactions", "outcomes"), [([interaction()], []), ([], [feedback()])], ids=["interaction", "feedback"]
    )
    def test_of_rows_of_which_one_is_stored_none_is_written(
        self, database: Database, interactions: list[Interaction], outcomes: list[FeedbackEvent]
    ) -> None:
        keep_events(database, [*interactions, *outcomes])
        with pytest.raises(Busy):
            keep_events(database, [*interactions, interaction("new"), *outcomes, feedback("new")])
        assert reading(database).events.known({(FAMILY, "new")}) == {}
        (of_arm,) = reading(database).events.arm_summary(FAMILY, None)
        assert of_arm.n_interactions + of_arm.n_labelled == 1

    def test_families_do_not_share_ids(self, database: Database) -> None:
        elsewhere = feedback("a", of=arm(family="triage"), content_hash="another")
        keep_events(database, [feedback("a"), elsewhere])
        assert reading(database).events.known({(FAMILY, "a"), ("triage", "a")}) == {
            (FAMILY, "a"): "hash of a",
            ("triage", "a"): "another",
        }

    def test_more_events_than_a_query_can_name_are_taken_at_once(self, database: Database) -> None:
        rows = [feedback(f"fb_{i}") for i in range(1201)]
        keep_events(database, rows)
        hashes = {(FAMILY, row.id): row.content_hash for row in rows}
        assert reading(database).events.known(hashes.keys()) == hashes

    def test_known_names_both_kinds_by_content(self, database: Database) -> None:
        keep_events(database, [interaction("i"), feedback("f")])
        found = reading(database).events.known({(FAMILY, "i"), (FAMILY, "f"), (FAMILY, "x"), ("triage", "i")})
        assert found == {(FAMILY, "i"): "hash of i", (FAMILY, "f"): "hash of f"}

    def test_no_events_are_no_work(self, database: Database) -> None:
        keep_events(database, [])
        assert page(database) == ([], None)


class TestReading:
    def test_an_interaction_comes_back_as_it_was_written(self, database: Database) -> None:
        written = interaction(
            of=arm(cohort_start=NOW),
            input={"document": "Füße", "list": [1, None, {"a": 0.5}]},
            cost_usd=0.001,
            input_tokens=3,
            error="timeout",
            tags={"a": 1},
            conversation="c",
            parts=[
                {"tier": 0, "model": "small", "purpose": "answer", "confidence": 0.5, "output": "Füße"},
                {"error": "timeout"},
            ],
        )
        keep_events(database, [written])
        assert reading(database).events.interaction("in_1") == written
        assert reading(database).events.interaction("in_1", FAMILY) == written
        assert reading(database).events.interaction("in_1", "triage") is None
        assert reading(database).events.interactions({"in_1", "in_2"}) == {"in_1": [written]}

    def test_texts_that_come_later_are_added_where_there_are_none(self, database: Database) -> None:
        without, other = interaction(input=None, output=None), interaction("in_2", input=None, output="here")
        keep_events(database, [without, other])
        for each in (without, other):
            writing(database).events.add_texts(each, input={"document": "Füße"}, output="later")
        kept = reading(database).events.interactions({"in_1", "in_2"})
        assert [one.input for (one,) in kept.values()] == [{"document": "Füße"}] * 2
        assert {id: one.output for id, (one,) in kept.items()} == {"in_1": "later", "in_2": "here"}

    def test_later_parts_stand_beside_their_interaction_and_count_as_money(self, database: Database) -> None:
        parts = [{"model": "big", "purpose": "audit"}]
        later = LaterParts(family=FAMILY, interaction="in_1", parts=parts, cost_usd=0.5, received_at=NOW)
        keep_events(database, [interaction(cost_usd=0.25, by_gateway=True)])
        writing(database).events.add_later_parts(later)
        assert reading(database).events.later_parts(FAMILY, {"in_1", "in_2"}) == {"in_1": later}
        assert reading(database).events.later_parts("triage", {"in_1"}) == {}
        assert reading(database).events.cost_usd(FAMILY, NOW) == pytest.approx(0.75)
        assert reading(database).events.cost_usd(FAMILY, minutes(1)) == 0.0

    def test_requests_made_of_parts_come_newest_first_and_within_what_was_asked_for(self, database: Database) -> None:
        parts = [{"tier": 0, "model": "small", "purpose": "answer"}]
        ours = [interaction(f"in_{i}", received_at=minutes(i), parts=parts) for i in range(4)]
        others = [
            interaction("plain", received_at=minutes(2)),
            interaction("elsewhere", of=arm(family="triage"), received_at=minutes(2), parts=parts),
            interaction("another", of=arm(variant="v_bbbbbbbbbbbb"), received_at=minutes(5), parts=parts),
        ]
        keep_events(database, [*ours, *others])
        one, both = {"v_aaaaaaaaaaaa"}, {"v_aaaaaaaaaaaa", "v_bbbbbbbbbbbb"}

        def ids(variants: set[str], limit: int) -> list[str]:
            made = reading(database).events.made_of_parts(FAMILY, variants, since=minutes(1), limit=limit)
            return [each.id for each in made]

        assert ids(one, 2) == ["in_3", "in_2"]
        assert reading(database).events.n_made_of_parts(FAMILY, one, since=minutes(1)) == 3
        assert ids(both, 9) == ["another", "in_3", "in_2", "in_1"]
        assert ids(set(), 9) == []

    def test_of_several_corrections_the_latest_counts(self, database: Database) -> None:
        told = [
            feedback("a", interaction="in_1", expected={"summary": "late"}, received_at=minutes(2)),
            feedback("b", interaction="in_1", expected={"summary": "early"}, received_at=minutes(1)),
            feedback("c", interaction="in_1", received_at=minutes(3)),
            feedback("d", interaction="in_2"),
            feedback("e", interaction="in_3", expected={"summary": "not asked for"}),
            feedback("f", of=arm(family="triage"), interaction="in_2", expected={"summary": "elsewhere"}),
        ]
        keep_events(database, told)
        assert reading(database).events.corrections(FAMILY, {"in_1", "in_2"}) == {"in_1": {"summary": "late"}}

    def test_feedback_comes_back_as_it_was_written(self, database: Database) -> None:
        outcomes = [
            feedback("a", interaction="in_1", expected={"summary": "x"}, score=0.25, success=None, label="good"),
            feedback("b", interaction="in_1", success=False, source="judge"),
        ]
        keep_events(database, [*outcomes, feedback("c")])
        assert reading(database).events.feedback_of([(FAMILY, "in_1")]) == outcomes
        assert reading(database).events.feedback_of([(FAMILY, "b"), ("triage", "a")], by_id=True) == outcomes[1:]


class TestPages:
    def test_pages_of_interactions_hold_each_once_in_the_order_of_arrival(self, database: Database) -> None:
        rows = [interaction(f"in_{i:02}", received_at=minutes(i // 3)) for i in range(10)]
        keep_events(database, [*rows[::-1], feedback()])
        of = {"family": FAMILY, "variant": None, "since": minutes(1), "limit": 4}
        assert whole(lambda cursor: reading(database).events.page_of_interactions(cursor=cursor, **of)) == rows[3:]

    def test_pages_hold_every_event_once_in_the_order_of_arrival(self, database: Database) -> None:
        rows = [feedback(f"fb_{i:02}", received_at=minutes(i // 3)) for i in range(10)]  # several of one moment
        keep_events(database, rows[::-1])
        assert whole(lambda cursor: page(database, family=FAMILY, cursor=cursor, limit=4)) == rows

    def test_pages_of_all_families_hold_every_event_once_also_where_several_came_at_once(
        self, database: Database
    ) -> None:
        rows = [
            feedback(f"fb_{i // 3}", of=arm(family=family), received_at=minutes(i // 6))
            for i, family in enumerate(("a", FAMILY, "triage") * 6)
        ]
        keep_events(database, rows[::-1])
        for limit in (1, 4, 18):
            assert whole(lambda cursor, limit=limit: page(database, cursor=cursor, limit=limit)) == rows

    def test_family_variant_and_time_narrow_the_page(self, database: Database) -> None:
        late, other = feedback("late", received_at=minutes(5)), feedback("other", of=arm(variant="v_bbbbbbbbbbbb"))
        keep_events(database, [feedback("a"), late, other, feedback("x", of=arm(family="triage"))])

        def ids(**filters: object) -> list[str]:
            return [event.id for event in page(database, **filters)[0]]

        assert ids(family="triage") == ["x"]
        assert ids(family=FAMILY, variant="v_bbbbbbbbbbbb") == ["other"]
        assert ids(since=minutes(5)) == ["late"]

    @pytest.mark.parametrize("cursor", ["", "nonsense", "bnVsbA", "WyJhIiwgImIiXQ", "é"])
    def test_a_cursor_from_elsewhere_is_refused(self, database: Database, cursor: str) -> None:
        keep_events(database, [feedback()])
        with pytest.raises(InvalidInput, match="cursor"):
            page(database, cursor=cursor)


class TestAnswers:
    def test_an_answer_is_found_under_its_sender_and_key_only(self, database: Database) -> None:
        writing(database).events.store_answer("app", "key", "hash", {"accepted": 1}, NOW)
        assert reading(database).events.stored_answer("other app", "key", "hash") is None
        assert reading(database).events.stored_answer("app", "other key", "hash") is None
        with pytest.raises(KeyReused, match="another body"):
            reading(database).events.stored_answer("app", "key", "other hash")
        with pytest.raises(Conflict):
            writing(database).events.store_answer("app", "key", "other hash", {"accepted": 2}, NOW)
        assert reading(database).events.stored_answer("app", "key", "hash") == {"accepted": 1}


class TestSums:
    def test_arms_are_summed_up_without_counting_what_is_missing_as_zero(self, database: Database) -> None:
        candidate = arm(variant="v_bbbbbbbbbbbb", role="candidate")
        rows = [
            interaction("1", latency_ms=10.0, cost_usd=0.5),
            interaction("2", latency_ms=None, error="timeout"),
            interaction("3", of=candidate, latency_ms=None),
            feedback("1", score=1.0),
            feedback("2", success=False),
            feedback("3", success=None, score=0.5),
            feedback("4", success=None, label="x"),
        ]
        keep_events(database, rows)
        champion_sums = ArmTotals(
            **{"variant": "v_aaaaaaaaaaaa", "role": "champion", "n_interactions": 2, "n_errors": 1, "n_labelled": 2},
            **{"n_success": 1, "n_scored": 2, "mean_score": 0.75, "mean_latency_ms": 10.0, "cost_usd": 0.5},
        )
        nothing = dict.fromkeys(("n_errors", "n_labelled", "n_success", "n_scored"), 0)
        unknown = {"mean_score": None, "mean_latency_ms": None, "cost_usd": 0.0}
        candidate_sums = ArmTotals(variant="v_bbbbbbbbbbbb", role="candidate", n_interactions=1, **nothing, **unknown)
        assert reading(database).events.arm_summary(FAMILY, "ro_1") == [champion_sums, candidate_sums]
        assert reading(database).events.arm_summary(FAMILY, None) == [champion_sums, candidate_sums]
        assert reading(database).events.arm_summary(FAMILY, "ro_2") == []

    def test_a_familys_money_is_what_the_gateway_recorded_itself_since_a_time(self, database: Database) -> None:
        rows = [
            interaction("1", cost_usd=0.5, by_gateway=True),
            interaction("2", cost_usd=None, by_gateway=True),
            interaction("3", cost_usd=0.25, by_gateway=True),
            interaction("said", cost_usd=1000.0),
            interaction("old", cost_usd=8.0, by_gateway=True, received_at=NOW - timedelta(hours=1)),
        ]
        keep_events(database, rows)
        assert reading(database).events.cost_usd(FAMILY, NOW - timedelta(minutes=30)) == 0.75
        assert reading(database).events.cost_usd(FAMILY, NOW + timedelta(days=1)) == 0.0
        assert reading(database).events.cost_usd("another", NOW - timedelta(days=1)) == 0.0

    def test_labels_are_counted_by_variant_field_and_source_since_a_time(self, database: Database) -> None:
        rows = [
            feedback("old", received_at=NOW - timedelta(days=1)),
            feedback("1"),
            feedback("2", success=False, score=0.5),
            feedback("3", success=None, score=1.0, source="judge"),
        ]
        keep_events(database, rows)
        summary = reading(database).events.label_summary(FAMILY, NOW)
        of = {"variant": "v_aaaaaaaaaaaa"}
        assert summary == [
            LabelSummary(**of, field="score", source="judge", n=1, mean=1.0),
            LabelSummary(**of, field="score", source="user", n=1, mean=0.5),
            LabelSummary(**of, field="success", source="user", n=2, mean=0.5),
        ]
