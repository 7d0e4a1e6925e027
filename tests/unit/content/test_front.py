"""Which of the settings that were replayed deserve to be candidates."""

from __future__ import annotations

from optimizer.content.core.search.replay import ReplayedSetting, candidates
from optimizer.core.family.variant import Variant
from optimizer.core.views.study_front import pareto_front


def setting(score: float, cost: float) -> ReplayedSetting:
    return ReplayedSetting(
        variant=Variant(messages=(), policy={"filter.min_overall": score, "filter.min_coherence": cost}),
        score=score,
        cost=cost,
    )


START = setting(0.60, 0.70)
CHEAP, MIDDLE, GOOD = setting(0.50, 0.20), setting(0.58, 0.40), setting(0.66, 0.90)
BEATEN = setting(0.57, 0.45)  # MIDDLE is better and cheaper


def front_of(settings: list[ReplayedSetting]) -> list[ReplayedSetting]:
    return pareto_front(settings, of=lambda one: (one.cost, one.score))


def test_the_front_holds_what_none_beats_in_both_the_cheapest_first() -> None:
    assert front_of([GOOD, BEATEN, CHEAP, MIDDLE]) == [CHEAP, MIDDLE, GOOD]
    assert front_of([CHEAP, setting(0.50, 0.30)]) == [CHEAP]


def test_for_quality_the_best_scores_come_first() -> None:
    assert candidates([CHEAP, BEATEN, GOOD, MIDDLE, START], START, "quality", margin=0.05, n=2) == [GOOD, MIDDLE]


def test_for_cost_the_cheapest_that_stay_within_half_the_margin_come_first() -> None:
    found = candidates([CHEAP, BEATEN, GOOD, MIDDLE, START], START, "cost", margin=0.05, n=5)
    assert found == [MIDDLE, GOOD]
    assert candidates([CHEAP], START, "cost", margin=0.05, n=5) == []


def test_the_start_is_no_candidate() -> None:
    assert candidates([START], START, "quality", margin=0.05, n=5) == []
