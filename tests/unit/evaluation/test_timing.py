"""How often a variant is called slower than it is, and how often one that is gets through."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.core.evaluation.timing import (
    PAIRS,
    RowRatios,
    TimedPair,
    Timing,
    interval_of_mean,
    n_paired,
    rounds,
    timed_rows,
)

ALLOWED = 0.20
EACH_SIDE = 0.025
N = 400
ERROR = 3 * sqrt(EACH_SIDE * (1 - EACH_SIDE) / N)  # three standard errors of a share of N draws
Noise = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]


def normal(sd: float) -> Noise:
    """Of the log of one latency."""
    return lambda draw, shape: sd * draw.standard_normal(shape)


def heavy_tailed(sd: float) -> Noise:
    return lambda draw, shape: sd * draw.standard_t(3, shape) / sqrt(3)


def noisy_in_one_row(sd: float) -> Noise:
    def noise(draw: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        of_rows = np.full((shape[0], 1), sd / 4)
        of_rows[0] = 2 * sd
        return of_rows * draw.standard_normal(shape)

    return noise


def verdict(
    draw: np.random.Generator, slowdown: float, noise: Noise, *, rows: int = 6, effect: float = 0.0, again: int = 0
) -> bool | None:
    """Of as many rounds as it takes to tell, and of as many more evaluations while they do not.

    Args:
        effect: standard deviation of what a row has of its own; their mean is ``slowdown`` exactly.
    """
    of_rows = effect * draw.standard_normal(rows)
    of_rows += log(1 + slowdown) - of_rows.mean()
    earlier: list[dict[str, RowRatios]] = []
    for _ in range(1 + again):
        pairs: list[TimedPair] = []
        for repeats in rounds(rows):
            shape = (rows, repeats)
            ratios = np.exp(of_rows[:, None] + noise(draw, shape) - noise(draw, shape))
            pairs += [TimedPair(str(row), ratio, 1.0) for row, found in enumerate(ratios) for ratio in found]
            timing = Timing(pairs=pairs, earlier=earlier)
            if (told := timing.is_slower(ALLOWED)) is not None:
                return told
        earlier.append(dict(timing.own))
    return None


def shares(slowdown: float, noise: Noise, n: int = 300, **of: float) -> tuple[float, float]:
    """(called slower, called as quick as is asked), of ``n`` evaluations."""
    draw = np.random.default_rng(1)
    found = [verdict(draw, slowdown, noise, **of) for _ in range(n)]  # type: ignore[arg-type]
    return found.count(True) / n, found.count(False) / n


@pytest.mark.parametrize(
    ("noise", "of"),
    [
        pytest.param(heavy_tailed(0.3), {"effect": 0.2}, id="heavy tails"),
        pytest.param(noisy_in_one_row(0.3), {"effect": 0.2}, id="noisy, and one row more so"),
        pytest.param(normal(0.3), {"rows": 1}, id="one row"),
        pytest.param(normal(0.3), {"rows": 60, "effect": 0.2}, id="sixty rows"),
        pytest.param(normal(0.3), {"effect": 0.2, "again": 3}, id="evaluated again until it tells"),
    ],
)
def test_at_the_bound_a_variant_is_seldom_called_slower_or_quicker(noise: Noise, of: dict[str, float]) -> None:
    slower, quicker = shares(ALLOWED, noise, N, **of)
    assert slower <= EACH_SIDE + ERROR
    assert quicker <= EACH_SIDE + ERROR


@pytest.mark.parametrize(
    ("noise", "of", "least"),
    [
        pytest.param(normal(0.3), {"rows": 1}, 0.95, id="one row"),
        pytest.param(heavy_tailed(0.3), {"effect": 0.2}, 0.95, id="heavy tails"),
        pytest.param(normal(0.42), {"again": 2}, 0.95, id="very noisy, evaluated thrice"),
    ],
)
def test_equal_latencies_are_not_called_slower(noise: Noise, of: dict[str, float], least: float) -> None:
    slower, quicker = shares(0.0, noise, **of)
    assert slower <= 0.005
    assert quicker >= least


def test_what_is_twice_as_much_slower_as_allowed_is_found_out() -> None:
    slower, quicker = shares(0.4, heavy_tailed(0.3), effect=0.2)
    assert slower >= 0.85
    assert quicker <= 0.005


def test_a_bound_that_is_kept_exactly_is_kept() -> None:
    told = Timing(pairs=[TimedPair("", 12.0, 10.0)] * 20)
    assert (told.slowdown, told.is_slower(ALLOWED)) == (pytest.approx(ALLOWED), False)
    assert Timing(pairs=[TimedPair("", 13.0, 10.0)]).is_slower(ALLOWED) is None, "too few"


def test_each_row_counts_alike_however_often_it_was_answered() -> None:
    pairs = [*[TimedPair("slow", 40.0, 10.0)] * 2, *[TimedPair("quick", 10.0, 10.0)] * 30]
    assert Timing(pairs=pairs).slowdown == pytest.approx(1.0), "the geometric mean of four times and once"


def test_what_earlier_evaluations_measured_counts_as_if_it_were_measured_now() -> None:
    logs = [[0.1, 0.3, -0.2], [0.0, 0.4], [0.25]]
    together = RowRatios.of([one for part in logs for one in part])
    added = RowRatios.of([])
    for part in logs:
        added = added.plus(RowRatios.of(part))
    assert (added.n, added.mean, added.squares) == pytest.approx((together.n, together.mean, together.squares))


def test_the_interval_of_one_row_is_that_of_the_usual_t_test() -> None:
    from scipy.stats import ttest_1samp

    logs = [0.1, 0.3, -0.2, 0.15, 0.05]
    wanted = ttest_1samp(logs, 0.0).confidence_interval(0.95)
    found = interval_of_mean([RowRatios.of(logs)], alpha=0.025)
    assert (found.lower, found.upper) == pytest.approx((wanted.low, wanted.high))


def test_the_interval_of_two_rows_is_that_of_welch() -> None:
    from scipy.stats import ttest_ind

    one, other = [0.1, 0.3, -0.2, 0.15, 0.05], [0.9, -0.5, 0.2]
    wanted = ttest_ind(one, [-x for x in other], equal_var=False).confidence_interval(0.95)
    found = interval_of_mean([RowRatios.of(one), RowRatios.of(other)], alpha=0.025)
    assert (2 * found.lower, 2 * found.upper) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize("n_rows", [1, 2, 6, 7, 20, 34, 47, 48, 60, 61, 1000])
def test_every_row_that_is_timed_is_asked_twice_at_least_and_all_together_about_as_often(n_rows: int) -> None:
    rows = timed_rows(range(n_rows))
    repeats = rounds(len(rows))
    assert len({*rows}) == min(n_rows, 60)
    assert repeats[0] >= 2
    assert n_paired(n_rows) == len(rows) * sum(repeats) + 1
    assert 0.8 * PAIRS <= len(rows) * sum(repeats) <= 1.2 * PAIRS
