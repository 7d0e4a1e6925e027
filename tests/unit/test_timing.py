"""How often a variant is called slower than it is, and how often one that is gets through."""

from __future__ import annotations

from random import Random

import pytest

from optimizer.core.evaluation.timing import MOST_ROUNDS, N_TIMED, TimedPair, Timing

ALLOWED = 0.20
NOISE = 0.29  # of a log latency: with it the median of 20 equal ones lies above +20 % in 6 of 100 timings
N = 2000


def verdict(slowdown: float, draw: Random) -> bool | None:
    """Of as many rounds as it takes to tell, as calls are timed."""
    pairs: list[TimedPair] = []
    for _ in range(MOST_ROUNDS):
        for i in range(N_TIMED):
            mine, theirs = (draw.lognormvariate(0, NOISE) for _ in range(2))
            pairs.append(TimedPair(str(i), (1 + slowdown) * mine, theirs))
        if (told := Timing(pairs=pairs).is_slower(ALLOWED)) is not None:
            return told
    return None


def test_equal_latencies_are_not_called_slower() -> None:
    draw = Random(1)
    medians = [
        Timing(
            pairs=[TimedPair("", draw.lognormvariate(0, NOISE), draw.lognormvariate(0, NOISE)) for _ in range(N_TIMED)]
        )
        for _ in range(N)
    ]
    above = sum((one.slowdown or 0) > ALLOWED for one in medians) / N
    assert above == pytest.approx(0.06, abs=0.02), "by their median alone"
    found = [verdict(0.0, draw) for _ in range(N)]
    assert found.count(True) / N < 0.005
    assert found.count(False) / N > 0.6


def test_what_is_half_as_slow_again_is_found_out_and_at_the_bound_seldom_blocked() -> None:
    draw = Random(2)
    assert [verdict(0.5, draw) for _ in range(N)].count(True) / N > 0.8
    assert [verdict(ALLOWED, draw) for _ in range(N)].count(True) / N < 3 * 0.025 + 0.01


def test_a_bound_that_is_kept_exactly_is_kept() -> None:
    told = Timing(pairs=[TimedPair("", 12.0, 10.0)] * 20)
    assert (told.n_slower(ALLOWED), told.is_slower(ALLOWED)) == ((0, 20), False)
    assert Timing(pairs=[TimedPair("", 13.0, 10.0)] * 5).is_slower(ALLOWED) is None, "too few"
