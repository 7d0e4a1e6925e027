"""The A/B decision between a conservative and an aggressive configuration."""

from __future__ import annotations

import random

import pytest

from optimizer.content.core.search.compare import AbArm, MeanWithError, compare, mean_with_error, rule
from optimizer.core.base.errors import DatasetTooSmall


def arm(name: str, quality: float, time_saved: float, *, error: float = 0.001, n: int = 500) -> AbArm:
    return AbArm(
        name=name,
        quality=MeanWithError(mean=quality, error=error, n=n),
        time_saved=MeanWithError(mean=time_saved, error=error, n=n),
    )


@pytest.mark.parametrize(
    ("quality", "time_saved", "choice"),
    [
        pytest.param(0.02, 0.20, "aggressive", id="little lost, much saved"),
        pytest.param(-0.10, 0.20, "aggressive", id="even better, and faster"),
        pytest.param(0.10, 0.20, "conservative", id="much lost"),
        pytest.param(0.10, 0.00, "conservative", id="much lost for nothing"),
        pytest.param(0.02, 0.02, "balanced", id="little lost, little saved"),
    ],
)
def test_the_rule_chooses_by_what_is_lost_and_what_is_saved(quality: float, time_saved: float, choice: str) -> None:
    verdict = compare(arm("conservative", 0.80, 0.50), arm("aggressive", 0.80 - quality, 0.50 + time_saved))
    assert (verdict.choice, verdict.by_estimates) == (choice, choice)
    assert verdict.quality.estimate == pytest.approx(quality)
    assert verdict.time_saved.estimate == pytest.approx(time_saved)


def test_at_an_edge_itself_neither_side_holds() -> None:
    assert rule(0.05, 0.2) == "balanced"
    assert rule(0.0, 0.05) == "balanced"


def test_an_interval_over_an_edge_cannot_tell_and_says_which() -> None:
    verdict = compare(arm("conservative", 0.80, 0.50, error=0.02), arm("aggressive", 0.76, 0.80, error=0.02))
    assert verdict.choice is None
    assert (verdict.by_estimates, verdict.possible) == ("aggressive", ("aggressive", "conservative"))
    assert "cannot tell" in verdict.reason
    assert "the quality interval reaches over the edge" in verdict.reason
    assert "+0.040 (-0.023 to +0.103)" in verdict.reason


def test_an_interval_over_an_edge_that_decides_nothing_is_no_obstacle() -> None:
    """Much is lost in any case: whatever the time does, the conservative one is right."""
    verdict = compare(arm("conservative", 0.80, 0.50), arm("aggressive", 0.60, 0.55, error=0.001))
    assert verdict.choice == "conservative"


def test_too_few_items_are_refused_with_the_number_that_is_needed() -> None:
    with pytest.raises(DatasetTooSmall, match="aggressive has 12 items with measured quality, and 30 are needed"):
        compare(arm("conservative", 0.8, 0.5), arm("aggressive", 0.7, 0.6, n=12))
    with pytest.raises(DatasetTooSmall, match="one has 2 measured items"):
        mean_with_error([0.1, 0.2])


def test_a_truth_beyond_the_edge_is_called_wrongly_in_at_most_five_of_a_hundred_tests() -> None:
    """At a true loss just above the edge, with much time saved, 'aggressive' is the wrong call."""
    rng = random.Random(7)
    wrong = 0
    for _ in range(400):
        lost = [mean_with_error([rng.gauss(mean, 0.2) for _ in range(100)]) for mean in (0.80, 0.80 - 0.0501)]
        saved = MeanWithError(mean=0.5, error=0.001, n=100), MeanWithError(mean=0.7, error=0.001, n=100)
        verdict = compare(
            AbArm(name="c", quality=lost[0], time_saved=saved[0]), AbArm(name="a", quality=lost[1], time_saved=saved[1])
        )
        wrong += verdict.choice == "aggressive"
    assert wrong <= 20
