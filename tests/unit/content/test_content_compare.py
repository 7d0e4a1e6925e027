"""The A/B decision between a conservative and an aggressive configuration."""

from __future__ import annotations

import random
from math import sqrt
from statistics import fmean, variance

import pytest

from optimizer.content.core.search.compare import Preference, difference_of, rule, verdict_of

CONFIDENCE = 0.95


def preference(quality: float, time_saved: float, *, error: float = 0.001) -> Preference:
    return verdict_of(*(difference_of(mean, error, CONFIDENCE) for mean in (quality, time_saved)), CONFIDENCE)


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
    verdict = preference(quality, time_saved)
    assert (verdict.choice, verdict.answer, verdict.by_estimates) == (choice, choice, choice)


def test_at_an_edge_itself_neither_side_holds() -> None:
    assert rule(0.05, 0.2) == "balanced"
    assert rule(0.0, 0.05) == "balanced"


def test_an_interval_over_an_edge_cannot_tell_and_says_which() -> None:
    verdict = preference(0.04, 0.30, error=0.02 * sqrt(2))
    assert verdict.choice is None
    assert (verdict.by_estimates, verdict.possible) == ("aggressive", ("aggressive", "conservative"))
    assert "cannot tell" in verdict.reason
    assert "the quality interval reaches over the edge" in verdict.reason
    assert "+0.040 (-0.023 to +0.103)" in verdict.reason


def test_an_interval_over_an_edge_that_decides_nothing_is_no_obstacle() -> None:
    """Much is lost in any case: whatever the time does, the conservative one is right."""
    assert preference(0.20, 0.05).choice == "conservative"


def test_a_truth_beyond_the_edge_is_called_wrongly_in_at_most_five_of_a_hundred_tests() -> None:
    """At a true loss just above the edge, with much time saved, 'aggressive' is the wrong call."""
    rng = random.Random(7)
    wrong = 0
    for _ in range(400):
        conservative, aggressive = ([rng.gauss(mean, 0.2) for _ in range(100)] for mean in (0.80, 0.80 - 0.0501))
        error = sqrt(variance(conservative) / 100 + variance(aggressive) / 100)
        quality = difference_of(fmean(conservative) - fmean(aggressive), error, CONFIDENCE)
        wrong += verdict_of(quality, difference_of(0.2, 0.001, CONFIDENCE), CONFIDENCE).choice == "aggressive"
    assert wrong <= 20
