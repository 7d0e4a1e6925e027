"""What every ports.Traffic must do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from optimizer.adapters.store import Database
from optimizer.core.feedback.rating_draws import SampledInteraction
from tests.stores import FAMILY, arm, feedback, interaction, keep_events, minutes, reading, writing

SINCE, UNTIL = minutes(-600), minutes(0)


def _report(database: Database, n: int, unit: str | None, at: float, **changes: object) -> None:
    about = {"of": arm(unit_hmac=unit), "received_at": minutes(at), "occurred_at": minutes(at - 1)}
    keep_events(database, [interaction(f"in_{n}", **{**about, **changes})])


def _label(database: Database, n: int, unit: str | None, at: float, **changes: object) -> None:
    row = feedback(f"fb_{n}", of=arm(unit_hmac=unit), received_at=minutes(at), **changes)
    keep_events(database, [row])


def test_a_unit_counts_once_however_often_it_comes(database: Database) -> None:
    for n, (unit, at) in enumerate([("u1", -400), ("u1", -300), ("u1", -10), ("u2", -20), (None, -5)]):
        _report(database, n, unit, at)
    _label(database, 1, "u3", -100)
    found = reading(database).traffic.recorded(FAMILY, SINCE, UNTIL)
    assert found is not None
    assert (found.n_requests, found.n_requests_with_unit, found.n_units) == (5, 4, 3)
    assert found.n_late_units == 2  # u2 and u3: u1 had been seen in the first half
    assert (found.since, found.until) == (minutes(-400), UNTIL)
    assert found.hours == 400 / 60


def test_labels_are_counted_per_unit_field_and_source(database: Database) -> None:
    for n, unit in enumerate(["u1", "u2", "u3", "u4"]):
        _report(database, n, unit, -60)
    _label(database, 1, "u1", -50, success=True)
    _label(database, 2, "u1", -40, success=False)
    _label(database, 3, "u2", -40, success=None, score=0.5)
    _label(database, 4, "u2", -40, success=None, score=0.5, source="judge")
    _label(database, 5, None, -40)
    found = reading(database).traffic.recorded(FAMILY, SINCE, UNTIL)
    assert found is not None
    assert found.n_labelled_units == {("success", "user"): 1, ("score", "user"): 1, ("score", "judge"): 1}
    assert found.label_rate("success", "user") == 0.25
    assert found.label_rate("success", "person") == 0.0


def test_what_lies_outside_the_time_or_family_does_not_count(database: Database) -> None:
    _report(database, 1, "u1", -601)
    _report(database, 2, "u1", 0)
    _report(database, 3, "u1", -600)
    other = interaction("in_9", of=arm(family="other", unit_hmac="u9"), received_at=minutes(-5))
    keep_events(database, [other])
    found = reading(database).traffic.recorded(FAMILY, SINCE, UNTIL)
    nothing = reading(database).traffic.recorded(FAMILY, SINCE - timedelta(days=1), SINCE - timedelta(hours=1))
    assert found is not None
    assert found.n_requests == 1
    assert nothing is None


def test_requests_and_labels_come_in_the_order_in_which_they_happened(database: Database) -> None:
    _report(database, 1, "u1", -10, error="timeout", latency_ms=5.0, cost_usd=0.5)
    _report(database, 2, "u2", -30)
    _report(database, 3, None, -30)
    _label(database, 1, "u1", -5, success=False)
    _label(database, 2, "u2", -8, success=True)
    _label(database, 3, "u2", -7, success=None, score=0.3)
    _label(database, 4, "u2", -7, source="judge")
    requests = reading(database).traffic.requests(FAMILY, SINCE, UNTIL)
    labels = reading(database).traffic.labels(FAMILY, SINCE, UNTIL, field="success", source="user")
    scores = reading(database).traffic.labels(FAMILY, SINCE, UNTIL, field="score", source="user")
    assert [(r.unit_hmac, r.at, r.failed, r.timed_out, r.latency_ms, r.cost_usd) for r in requests] == [
        ("u2", minutes(-31), False, False, 12.5, None),
        ("u1", minutes(-11), True, True, 5.0, 0.5),
    ]
    assert [(one.unit_hmac, one.at, one.value) for one in labels] == [
        ("u2", minutes(-8), 1.0),
        ("u1", minutes(-5), 0.0),
    ]
    assert [one.value for one in scores] == [0.3]


def test_what_is_known_of_each_interaction_is_told_by_source(database: Database) -> None:
    for n in range(4):
        parts = (
            [{"model": "small", "confidence": 0.3}, {"model": "large", "confidence": 0.8, "taken": True}]
            if n == 3
            else None
        )
        _report(database, n, f"u{n}", -60, parts=parts)
    _label(
        database, 1, "u1", -2000, interaction="in_1", success=None, score=0.9, source="judge"
    )  # of any time, once one is of this time
    _label(database, 2, "u1", -50, interaction="in_1", success=True)
    _label(database, 3, "u1", -50, interaction="in_1", success=False)
    _label(database, 4, "u2", -40, interaction="in_2", success=None, expected={"summary": "x"})
    _label(database, 5, "u9", -2000, interaction="in_0", success=False)
    found = {one.interaction: one for one in reading(database).traffic.seen(FAMILY, SINCE, UNTIL, 100)}
    assert reading(database).traffic.seen("other", SINCE, UNTIL, 100) == []
    assert found == {
        "in_1": SampledInteraction(interaction="in_1", low=0.5, high=0.9),
        "in_2": SampledInteraction(interaction="in_2", is_corrected=True),
        "in_3": SampledInteraction(interaction="in_3", confidence=0.8),
    }


def test_the_scores_of_one_judge_are_found_by_when_they_were_received(database: Database) -> None:
    def score(n: int, at: float, judge: str | None, **changes: object) -> None:
        given = {"success": None, "score": 0.5, "source": "judge", "tags": {"judge": judge} if judge else {}}
        _label(database, n, f"u{n}", at, **{**given, "interaction": f"in_{n}", **changes})

    score(1, -50, "j_1")
    score(2, -40, "j_1", interaction="in_1", score=0.9)  # judged again: the first score stays
    score(3, -45, "j_1", score=0.25)
    score(4, -40, "j_2")
    score(5, -40, None)
    score(6, -40, "j_1", source="person")
    score(7, -40, "j_1", score=None, success=True)
    score(8, -700, "j_1")
    found = reading(database).traffic.judged(FAMILY, "j_1", SINCE, UNTIL)
    assert [(one.interaction, one.score, one.judged_at, one.unit_hmac) for one in found] == [
        ("in_1", 0.5, minutes(-50), "u1"),
        ("in_3", 0.25, minutes(-45), "u3"),
    ]
    ever = (minutes(-9000), minutes(0))
    with database.read() as tx:
        assert [one.interaction for one in database.traffic.judged(tx, FAMILY, "j_1", *ever, among=["in_3"])] == [
            "in_3"
        ]
        rated = database.traffic.judged(tx, FAMILY, "j_1", *ever, rated_by="person")
        sums = database.traffic.judged_sums
        assert rated == []
        assert sums(tx, FAMILY, "j_1", [ever]) == (3, pytest.approx((0.5 + 0.25 + 0.5) / 3))
        assert sums(tx, FAMILY, "j_1", [(minutes(-46), minutes(0))]) == (1, 0.25), "by the first score's time"
        assert sums(tx, FAMILY, "j_1", [(minutes(-701), minutes(-699)), (minutes(-46), minutes(0))])[0] == 2
        assert sums(tx, FAMILY, "j_1", []) == sums(tx, FAMILY, "j_9", [ever]) == (0, None)
        assert sums(tx, FAMILY, "j_1", [ever], "v_other") == (0, None)
    _label(database, 9, None, -5, source="person", interaction="in_3", success=True)
    rated = reading(database).traffic.judged(FAMILY, "j_1", *ever, rated_by="person")
    assert [one.interaction for one in rated] == ["in_3"]


def test_what_a_source_said_of_interactions_is_averaged(database: Database) -> None:
    for n, (of, changes) in enumerate(
        [
            ("in_1", {"success": None, "score": 0.2}),
            ("in_1", {"success": True}),
            ("in_2", {"success": False}),
            ("in_3", {"success": None, "label": "odd"}),
            ("in_4", {"success": True}),
        ]
    ):
        _label(database, n, None, -5, source="person", interaction=of, **changes)
    _label(database, 9, None, -5, source="user", interaction="in_2", success=True)
    found = reading(database).traffic.ratings(FAMILY, ["in_1", "in_2", "in_3", "in_9"], "person")
    assert found == {"in_1": 0.6, "in_2": 0.0}


def test_the_lowest_outcomes_come_first_and_of_equal_ones_the_newest(database: Database) -> None:
    for n, (at, changes) in enumerate(
        [
            (-50, {"success": False}),
            (-40, {"success": None, "score": 0.4}),
            (-30, {"success": False}),
            (-20, {"success": True}),
        ]
    ):
        _label(database, n, "u1", at, interaction=f"in_{n}", **changes)
    _label(database, 9, "u1", -10, success=False)  # of no interaction
    lowest = reading(database).traffic.lowest(FAMILY, SINCE, UNTIL, 3)
    assert [(one.interaction, one.value) for one in lowest] == [("in_2", 0.0), ("in_0", 0.0), ("in_1", 0.4)]


def test_the_newest_outcome_but_some_is_found_and_none_where_there_are_fewer(database: Database) -> None:
    for n, at in enumerate((-700, -50, -40, -30)):
        _label(database, n, "u1", at)
    found = [reading(database).traffic.nth_newest_outcome(FAMILY, SINCE, UNTIL, n) for n in (1, 3, 4)]
    assert found == [minutes(-30), minutes(-50), None]


def test_the_turns_of_a_conversation_are_those_of_the_families_asked_under_the_names_of_each(
    database: Database,
) -> None:
    for n, (family, conversation, at) in enumerate(
        [
            (FAMILY, "c-1", -30),
            ("other", "c-1", -40),
            (FAMILY, "c-***", -20),
            ("other", "c-***", -10),  # masked by the rules of another family
            ("third", "c-1", -15),  # which nobody asked for
            (FAMILY, "c-2", -5),
            (FAMILY, "c-1", -601),
            (FAMILY, "c-1", 0),
        ]
    ):
        _report(database, n, "u1", at, conversation=conversation, of=arm(family=family))
    asked = {FAMILY: ["c-1", "c-***"], "other": ["c-1"]}
    turns = reading(database).traffic.turns(asked, SINCE, UNTIL, 10)
    newest = reading(database).traffic.turns(asked, SINCE, UNTIL, 2)
    assert [turn.id for turn in turns] == ["in_1", "in_0", "in_2"]
    assert [turn.id for turn in newest] == ["in_0", "in_2"]


def test_the_traffic_of_a_time_that_is_summed_up_is_read_once(database: Database) -> None:
    _report(database, 1, "u1", -60)
    writing(database).traffic_sums.put([], SINCE, minutes(-30))
    with database.read() as tx:
        settled = database.traffic.recorded(tx, FAMILY, SINCE, minutes(-30))
        assert database.traffic.recorded(tx, FAMILY, SINCE, minutes(-30)) is settled
        running = database.traffic.recorded(tx, FAMILY, SINCE, UNTIL)
        assert database.traffic.recorded(tx, FAMILY, SINCE, UNTIL) is not running


def test_the_traffic_of_a_retired_family_is_none_of_its_successors(database: Database) -> None:
    _report(database, 1, "u1", -60)
    writing(database).traffic_sums.put([], SINCE, minutes(-30))
    assert reading(database).traffic.recorded(FAMILY, SINCE, minutes(-30)) is not None
    writing(database).family_names.retire(FAMILY, UNTIL)
    assert writing(database).family_names.claim(FAMILY, UNTIL) is None
    assert reading(database).traffic.recorded(FAMILY, SINCE, minutes(-30)) is None
