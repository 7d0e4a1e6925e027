"""What gains on the champion under each aim, and what cannot win however cheap it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from optimizer.core.base.values import MIN_TIMED, Aim, ExampleResult, p95_ms
from optimizer.core.evaluation.timing import timing_of
from optimizer.core.search.objective import Objective, paired_by, saving_of
from optimizer.core.search.study import Trial, aimed_at


def results(scores: Sequence[float | None], *, usd: float = 0.002, ms: float | None = 100.0) -> list[ExampleResult]:
    return [
        ExampleResult(example=f"e{i}", score=s, output=None, cost_usd=usd, latency_ms=None if ms is None else ms + i)
        for i, s in enumerate(scores)
    ]


CHAMPION = results([1.0, 0.5] * 15)


def objective(aim: Aim) -> Objective:
    return Objective(aim=aim, champion=CHAMPION, margin=0.05)


def test_quality_gains_by_the_mean_lead_and_is_told_the_mean_score() -> None:
    better = results([1.0, 0.7] * 15)
    assert objective("quality").gain(better) == pytest.approx(0.1)
    assert objective("quality").figure(better) == pytest.approx(0.85)


@pytest.mark.parametrize(("aim", "cheaper"), [("cost", {"usd": 0.0015}), ("latency", {"ms": 71.0})])
def test_cost_and_latency_gain_by_the_share_that_is_saved_while_quality_holds(aim, cheaper):
    equal, a_little_worse, worse = ([1.0, s] * 15 for s in (0.5, 0.42, 0.3))
    share = 0.25 if aim == "cost" else 1 - (71 + 28) / (100 + 28)
    assert objective(aim).gain(results(equal, **cheaper)) == pytest.approx(share)
    assert objective(aim).gain(results(a_little_worse, **cheaper)) == pytest.approx(share)
    assert objective(aim).gain(results(worse, **cheaper)) is None
    assert objective(aim).gain(CHAMPION) == pytest.approx(0.0)


def test_strategies_are_told_that_any_usable_variant_is_worth_more_than_one_that_is_worse() -> None:
    told = objective("cost").figure
    ten_times_as_dear, worse, much_worse = (
        results([1.0, 0.5] * 15, usd=0.02),
        results([1.0, 0.3] * 15, usd=0.0),
        results([0.0] * 30, usd=0.0),
    )
    values = [told(CHAMPION), told(ten_times_as_dear), told(worse), told(much_worse)]
    assert values == sorted((v for v in values if v is not None), reverse=True)
    assert len(set(values)) == 4


@pytest.mark.parametrize("aim", ["quality", "cost", "latency"])
def test_who_has_no_score_where_the_champion_has_one_cannot_win(aim: Aim) -> None:
    assert objective(aim).gain(results([1.0] * 29 + [None], usd=0.0, ms=1.0)) is None


def test_latency_that_was_not_measured_is_no_gain_and_no_loss() -> None:
    from_journal = results([1.0, 0.5] * 15, ms=None)
    few = [*results([1.0, 0.5] * 15)[: MIN_TIMED - 1], *from_journal[MIN_TIMED - 1 :]]
    for found in (from_journal, few):
        assert objective("latency").gain(found) is None
        assert objective("latency").figure(found) is None


def by_tiers(n_student: int, model_ms: Sequence[float | None]) -> list[ExampleResult]:
    """A student answers the first rows in .1 ms, and a model those that follow; None: from the journal."""
    answers = [("student", 0.1)] * n_student + [("model", ms) for ms in model_ms]
    return [
        ExampleResult(example=f"e{i}", score=1.0, output="a", latency_ms=ms, answered_by=tier)
        for i, (tier, ms) in enumerate(answers)
    ]


def test_a_cascade_whose_model_the_journal_answered_for_was_not_timed_by_its_other_tier() -> None:
    assert p95_ms(by_tiers(25, [170.0] * 30)) == 170.0
    assert p95_ms(by_tiers(25, [None] * 30)) is None
    assert p95_ms(by_tiers(25, [170.0, *[None] * 29])) is None, "one in 26 is not its share of the answers"
    assert p95_ms(by_tiers(MIN_TIMED - 1, [])) is None
    assert p95_ms(by_tiers(MIN_TIMED, [])) == 0.1
    assert (len(timing_of(by_tiers(25, [170.0])).mine), timing_of(by_tiers(25, [None])).mine) == (26, [])


def test_a_cascade_saves_no_latency_by_answers_of_the_journal() -> None:
    champion = [replace(r, latency_ms=170.0, answered_by=None) for r in by_tiers(55, [])]
    quick, journalled = by_tiers(25, [170.0] * 30), by_tiers(25, [None] * 30)
    assert len(paired_by("latency", champion, quick)[1]) == 55
    assert paired_by("latency", champion, journalled) == ([], [], [])
    assert saving_of("latency", champion, journalled, 1).share is None
    # What the journal answers of the champion is left out of both; the other rows are timed of both.
    asked = [replace(r, latency_ms=None) if i >= 50 else r for i, r in enumerate(champion)]
    assert len(paired_by("latency", asked, by_tiers(25, [170.0] * 25 + [None] * 5))[1]) == 50


def test_a_call_that_failed_is_neither_cheap_nor_quick() -> None:
    failed = [*results([None] * 10, usd=0.0, ms=1.0), *results([1.0, 0.5] * 15)[10:]]
    assert len(paired_by("cost", CHAMPION, failed)[0]) == len(paired_by("latency", CHAMPION, failed)[1]) == 20


def test_a_saving_says_what_it_is_and_when_it_was_not_measured() -> None:
    assert saving_of("quality", CHAMPION, CHAMPION, 1) is None
    cheaper = saving_of("cost", CHAMPION, results([1.0] * 30, usd=0.001), 1)
    assert cheaper.share == pytest.approx(0.5)
    assert cheaper.p < 0.001
    assert cheaper.text == "$0.002000 a call to $0.001000 a call (-50%, p 0.0001)"
    quicker = saving_of("cost", results([1.0] * 30, usd=1.0), results([1.0] * 30, usd=0.35), 1, is_replayed=True)
    assert quicker.text == "100.0% of the time to 35.0% of the time (-65%, p 0.0001)"
    equal = saving_of("cost", CHAMPION, CHAMPION, 1)
    assert equal.p == 1.0
    untimed = saving_of("latency", CHAMPION, results([1.0] * 30, ms=None), 1)
    assert (untimed.share, untimed.unmeasured.verdict.value) == (None, "error")
    assert "0 holdout examples" in untimed.unmeasured.reason


def test_a_failed_call_of_the_winner_saves_nothing_and_took_as_long_as_the_longest() -> None:
    half_failed = [*results([None] * 15, usd=0.0, ms=None), *results([1.0] * 30, usd=0.001, ms=10.0)[15:]]
    cost, latency = (saving_of(aim, CHAMPION, half_failed, 1) for aim in ("cost", "latency"))
    assert (cost.n, cost.share) == (30, pytest.approx(0.25))
    assert (latency.n, latency.winner) == (30, 129.0)


def test_a_trial_is_told_with_what_its_study_aims_at() -> None:
    of = {"study": "st", "number": 1, "variant": "v", "proposer": "settings", "params": {}, "status": "complete"}
    trial = Trial(**of, n=10, cost_usd=0.002, p95_ms=87.4)
    assert aimed_at("cost", trial, is_replayed=True).endswith("% of the time")
    shown = [aimed_at(aim, trial) for aim in ("quality", "cost", "latency")]
    assert shown == ["", ", $0.00020 a call", ", p95 87 ms"]


def test_what_loses_exactly_the_margin_is_still_within_it() -> None:
    champion = results([1.0] * 20)
    one_wrong = results([1.0] * 19 + [0.0], usd=0.001)
    exactly, less = (Objective(aim="cost", champion=champion, margin=margin) for margin in (0.05, 0.049))
    assert (exactly.gain(one_wrong), less.gain(one_wrong)) == (pytest.approx(0.5), None)
    assert (exactly.figure(one_wrong), less.figure(one_wrong)) == (pytest.approx(0.5), pytest.approx(-1.05))
