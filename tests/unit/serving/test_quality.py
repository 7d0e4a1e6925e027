"""How good answers are: scores by band and by who gave them, and a conversation turn by turn."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.dataset.examples import make_example, split_of
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.serving.access import Access
from optimizer.core.views.quality import QualityAnalytics, distribution
from optimizer.jobs.champions.read_quality import AnalyticsRequest, MonitorRequest, read_analytics, read_conversation
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.runtime.use_cases import use_case_of
from tests.clock import Clock
from tests.contract.store.test_calibrations import CALIBRATION, RECORD
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, minutes
from tests.worlds.contexts import context_of
from tests.worlds.rated_world import judged_family

LATER = Clock(NOW + timedelta(hours=1))


JUDGED = judged_family(model="embedded")
JUDGE = judge_identity(JUDGED)


def context_in(database: Database, families: dict[str, Family] | None = None, access: Access | None = None) -> Any:
    families = families or {FAMILY: JUDGED}
    more: dict[str, Any] = {"hmac_unit": "hash of {}".format, "older_hmacs": lambda unit: ()}
    more |= {} if access is None else {"access": access}
    files = SimpleNamespace(families=families)
    return context_of(database, LATER, families=lambda: files, family=families.__getitem__, **more)


def analytics(database: Database, **asked: Any) -> QualityAnalytics:
    roll_up_minutes(database, LATER)
    return read_analytics(context_in(database), AnalyticsRequest(**asked))


def judged(id: str, of: str, score: float, at: float = 2, judge: str | None = JUDGE, **tags: str) -> Any:
    outcome = {"source": "judge", "score": score, "success": None, "tags": {"judge": judge, **tags}}
    return feedback(id, interaction=of, received_at=minutes(at), **outcome)


def calibrate(database: Database, **changes: Any) -> None:
    calibration = replace(CALIBRATION, judge=JUDGE, **changes)
    database.write(lambda tx: database.calibrations.add(tx, replace(RECORD, calibration=calibration)))


@pytest.mark.parametrize(
    ("score", "band"), [(1.0, 0.95), (0.95, 0.95), (0.9499, 0.9), (0.9, 0.9), (0.8, 0.8), (0.7999, 0.0), (0.0, 0.0)]
)
def test_a_score_on_an_edge_is_in_the_band_that_begins_there(score: float, band: float) -> None:
    (own,) = [each for each in distribution("labelled", "user", [(score, 3)]).bands if each.n]
    assert (own.low, own.n, own.share) == (band, 3, 1.0)


def test_no_scores_are_no_mean_and_no_share_rather_than_nought() -> None:
    empty = distribution("judged", "judge", [])
    assert empty.mean is None
    assert {band.share for band in empty.bands} == {None}


def test_scores_are_told_apart_by_who_gave_them(database: Database) -> None:
    keep_events(
        database,
        [
            interaction("in_1", received_at=minutes(1)),
            judged("fb_1", "in_1", 0.97),
            judged("fb_2", "in_1", 0.5, judge="j_other"),
            feedback("fb_3", interaction="in_1", score=0.85, success=None, source="person", received_at=minutes(3)),
            feedback("fb_4", interaction="in_1", score=None, success=True, received_at=minutes(3)),
        ],
    )
    calibrate(database)
    report = analytics(database)
    assert [(each.kind, each.source, each.n) for each in report.scores] == [
        ("judged", "judge", 2),
        ("calibrated", "judge", 1),
        ("labelled", "person", 1),
    ]
    assert [band.n for band in report.scores[0].bands] == [1, 0, 0, 1]
    assert report.scores[1].mean == pytest.approx(0.1 + 0.8 * 0.97)  # as the calibration's line maps it
    assert [band.n for band in report.scores[1].bands] == [0, 0, 1, 0]
    assert [(each.source, each.n_labelled, each.share) for each in report.success] == [("user", 1, 1.0)]
    (other,) = report.uncalibrated
    assert (other.n, other.cause) == (1, "another judge than the family's own gave it")


def test_an_uncalibrated_judge_has_no_calibrated_scores_and_it_is_said_why(database: Database) -> None:
    keep_events(database, [interaction("in_1", received_at=minutes(1)), judged("fb_1", "in_1", 0.97)])
    report = analytics(database)
    assert [each.kind for each in report.scores] == ["judged"]
    assert "uncalibrated" in report.uncalibrated[0].cause


def test_dollars_and_models_are_sums_and_an_unknown_cost_is_none(database: Database) -> None:
    keep_events(
        database,
        [
            interaction("in_1", model="m", cost_usd=0.02, latency_ms=100.0, received_at=minutes(1)),
            interaction("in_2", model="m", cost_usd=None, latency_ms=300.0, received_at=minutes(2)),
            interaction("in_3", model="n", cost_usd=None, latency_ms=None, error="down", received_at=minutes(2)),
            interaction("in_4", of=arm(family="other"), cost_usd=9.0, received_at=minutes(2)),
        ],
    )
    report = analytics(database)
    assert (report.n_interactions, report.n_errors, report.n_with_cost) == (3, 1, 1)
    assert (report.cost_usd, report.cost_per_query_usd) == (0.02, 0.02)
    rows = [
        (each.model, each.n_interactions, each.cost_usd, each.cost_per_query_usd, each.mean_latency_ms)
        for each in report.models
    ]
    assert rows == [("m", 2, 0.02, 0.02, 200.0), ("n", 1, None, None, None)]


def test_what_came_before_the_range_is_left_out(database: Database) -> None:
    keep_events(
        database,
        [
            interaction("in_1", received_at=minutes(1)),
            judged("fb_1", "in_1", 0.5, at=1),
            interaction("in_2", received_at=minutes(50)),
            judged("fb_2", "in_2", 1.0, at=51),
        ],
    )
    report = analytics(database, range="30m")
    assert (report.n_interactions, report.scores[0].n, report.scores[0].mean) == (1, 1, 1.0)


def test_issues_are_labels_and_what_checks_found_the_most_frequent_first(database: Database) -> None:
    parts = [{"tier": 0, "issues": ["too_short", "no_date"]}]
    keep_events(
        database,
        [
            interaction("in_1", parts=parts, received_at=minutes(1)),
            interaction("in_2", parts=[{"tier": 0, "issues": ["too_short"]}], received_at=minutes(1)),
            *(feedback(f"fb_{i}", label="wrong", interaction="in_1", received_at=minutes(2)) for i in range(3)),
            judged("fb_j", "in_2", 0.2, signs="override, not a sign"),
        ],
    )
    report = analytics(database)
    assert [(each.found_by, each.issue, each.n) for each in report.issues] == [
        ("label", "wrong", 3),
        ("check", "too_short", 2),
        ("check", "no_date", 1),
        ("judge", "override", 1),
    ]
    assert report.n_checked == 2


def test_a_label_that_outcomes_on_sealed_questions_alone_have_is_not_listed(database: Database) -> None:
    labels = {"in_1": ("secret", "secret", "wrong"), "in_2": ("wrong", "wrong"), None: ("late",)}
    outcomes = [(of, label) for of, ones in labels.items() for label in ones]
    keep_events(
        database,
        [
            *(interaction(id, input={"document": f"Text  of {id}"}, received_at=minutes(1)) for id in ("in_1", "in_2")),
            *(
                feedback(f"fb_{i}", label=label, interaction=of, received_at=minutes(2))
                for i, (of, label) in enumerate(outcomes)
            ),
        ],
    )
    sealed = make_example(
        id="sealed",
        family=FAMILY,
        group=next(group for group in "abcdefgh" if split_of(group) == "holdout"),
        input={"document": "text of in_1"},
        expected={"summary": "x"},
        origin="import",
        created_at=NOW,
    )
    database.write(lambda tx: database.examples.add(tx, [sealed]))
    for asked in ({}, {"family": FAMILY}):
        issues = analytics(database, **asked).issues
        assert [(each.found_by, each.issue, each.n) for each in issues] == [("label", "wrong", 2), ("label", "late", 1)]


def test_a_key_for_one_family_sees_no_other(database: Database) -> None:
    keep_events(database, [interaction("in_1", received_at=minutes(1)), judged("fb_1", "in_1", 0.9)])
    roll_up_minutes(database, LATER)
    mine = Access(roles=("read",), families=("triage", "topics"))
    report = read_analytics(context_in(database, access=mine), AnalyticsRequest())
    assert (report.families, report.n_interactions, report.scores) == ([], 0, [])


@pytest.mark.parametrize("range_", ["0h", "32d", "24", "1w", "-1h"])
def test_a_range_that_is_none_or_too_long_is_refused(range_: str) -> None:
    with pytest.raises(ValueError, match="range"):
        AnalyticsRequest(range=range_)


def conversation(database: Database, family: Family = JUDGED, name: str = "c-1") -> Any:
    return read_conversation(context_in(database, {FAMILY: family}), MonitorRequest(conversation=name))


def turn(id: str, at: float, **more: Any) -> Any:
    usual = {"conversation": "c-1", "input": {"document": "d"}, "output": "an answer", "error": None}
    return interaction(id, received_at=minutes(at), **{**usual, **more})


def test_a_conversation_says_of_each_turn_whose_score_it_is(database: Database) -> None:
    keep_events(
        database,
        [
            turn("in_3", 3),
            turn("in_1", 1),
            turn("in_2", 2),
            turn("in_4", 4, output=None, error="down"),
            turn("in_other", 2, conversation="c-2"),
            judged("fb_1", "in_1", 0.9, reasoning="It leaves out the date."),
            judged("fb_2", "in_2", 0.9),
            feedback("fb_3", interaction="in_2", score=None, success=False, received_at=minutes(5)),
        ],
    )
    seen = conversation(database)
    assert [(each.interaction, each.score, each.scored_by) for each in seen.turns] == [
        ("in_1", 0.9, "judged"),
        ("in_2", 0.0, "labelled"),
        ("in_3", None, None),
        ("in_4", None, None),
    ]
    assert (seen.n_scored, seen.mean_score, seen.lowest_score) == (2, 0.45, 0.0)
    assert seen.turns[0].outcomes[0].reasoning == "It leaves out the date."
    assert "judge.monitor.share is 0" in seen.turns[2].why_unscored
    assert "failed" in seen.turns[3].why_unscored


def test_with_a_calibrated_judge_a_turn_shows_the_rating_beside_the_score(database: Database) -> None:
    keep_events(database, [turn("in_1", 1), judged("fb_1", "in_1", 0.5)])
    calibrate(database)
    (only,) = conversation(database).turns
    assert (only.scored_by, only.outcomes[0].score) == ("calibrated", 0.5)
    assert only.score == pytest.approx(0.5)


def test_of_a_long_conversation_the_newest_turns_are_seen_as_they_come(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.jobs.champions.read_quality.MOST_TURNS", 2)
    for n in range(1, 5):
        keep_events(database, [turn(f"in_{n}", n)])
        seen = conversation(database)
        assert [each.interaction for each in seen.turns][-1] == f"in_{n}"
        assert (len(seen.turns), seen.is_cut) == (min(n, 2), n > 2)


def test_nothing_scored_is_no_mean(database: Database) -> None:
    keep_events(database, [turn("in_1", 1, cost_usd=None)])
    seen = conversation(database)
    assert (seen.n_scored, seen.mean_score, seen.lowest_score, seen.cost_usd) == (0, None, None, None)


def test_a_conversation_is_found_under_the_masks_that_renamed_it(database: Database) -> None:
    keep_events(database, [turn("in_1", 1, conversation="[email]")])
    masked = judged_family(model="embedded", privacy={"mask": ["email"]})
    assert len(conversation(database, masked, "ann@example.org").turns) == 1


def test_a_conversation_whose_key_is_its_users_is_found_by_it_also_under_an_older_key(database: Database) -> None:
    keep_events(database, [turn("in_1", 1, conversation="new hash"), turn("in_2", 2, conversation="old hash")])
    context = replace(
        context_in(database), hmac_unit={"session-7": "new hash"}.get, older_hmacs=lambda unit: ["old hash"]
    )
    seen = read_conversation(context, MonitorRequest(conversation="session-7"))
    assert [each.interaction for each in seen.turns] == ["in_1", "in_2"]


def test_the_judges_reasoning_and_all_texts_are_hidden_from_a_key_that_reads_figures(database: Database) -> None:
    keep_events(database, [turn("in_1", 1), judged("fb_1", "in_1", 0.9, reasoning="secret words")])
    seen = conversation(database)
    use_case = use_case_of(read_conversation)
    assert b"secret words" in use_case.written(seen)
    figures = json.loads(use_case.written(seen, figures_only=True))
    (one,) = figures["turns"]
    assert (one["input"], one["output"], one["outcomes"][0]["reasoning"], figures["conversation"]) == (None,) * 4
    assert one["score"] == 0.9
