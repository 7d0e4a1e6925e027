"""How often the interval that people are shown misses the difference, or the estimate beside it, at any look of a whole
rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from math import pi, sin, sqrt
from statistics import NormalDist

import numpy as np
from common import Cell

from optimizer.core.statistics.interval import Running, running_intervals
from optimizer.core.statistics.outcomes import Block, Outcomes
from optimizer.core.statistics.quality_gate import ALPHA_ROLL, ALPHA_SHIP, QualityGate
from simulations.own_rule import LADDER, OwnRule
from simulations.tally import BASE, BLOCK, DELTA, Tally, mean_cell, progress, share_cell

DAY = 24  # blocks of an hour
MOST_BLOCKS = 200
NORMAL = "normal interval at 92 %, from 200 labels on"
NORMAL_FROM = 200


@dataclass(frozen=True, kw_only=True)
class TrueRates:
    """``base``: the champion's mean by hour; ``difference``: the candidate's beside it."""

    difference: Callable[[int], float]
    base: Callable[[int], float] = lambda hour: BASE
    scores: bool = False
    stays: bool = True


def at_swing(hour: int) -> float:
    return BASE - 0.1 + 0.1 * sin(2 * pi * hour / DAY)


CASES = {
    "-5 pt": TrueRates(difference=lambda hour: -DELTA),
    "+0 pt": TrueRates(difference=lambda hour: 0.0),
    "+22 pt, base .60": TrueRates(difference=lambda hour: 0.22, base=lambda hour: 0.6),
    "+5 pt, base swings by 10 pt a day": TrueRates(difference=lambda hour: DELTA, base=at_swing),
    "+5 pt, scores": TrueRates(difference=lambda hour: DELTA, scores=True),
    "the difference swings by 10 pt a day": TrueRates(
        difference=lambda hour: 0.1 * sin(2 * pi * hour / DAY), stays=False
    ),
}


def run_interval(rng: np.random.Generator, truth: TrueRates) -> tuple[list[Block], tuple[Running, ...]]:
    """One rollout to its end by the product's rule, and what was shown after each block that the gate counted."""
    rule = OwnRule(base=truth.base(0))
    start = rule.gate = QualityGate.start(
        margin=DELTA, champion_mean=truth.base(0), kind="score" if truth.scores else "binary"
    )
    blocks: list[Block] = []
    for hour in range(MOST_BLOCKS):
        n_c = int(rng.binomial(BLOCK, LADDER[rule.stage]))
        base = truth.base(hour)
        candidate, champion = (
            _drawn(rng, k, mean, scores=truth.scores)
            for k, mean in ((n_c, base + truth.difference(hour)), (BLOCK - n_c, base))
        )
        blocks.append(Block(stage=rule.stage, candidate=candidate, champion=champion))
        if rule.after_block(blocks[-1]) is not None:
            break
    return blocks, running_intervals(start, tuple(blocks))


def table_interval(runs: int, seed: int, *, processes: int = 2) -> list[Cell]:
    """The cases side by side; as many at once as there are processes."""
    with ProcessPoolExecutor(processes) as pool:
        return [cell for cells in pool.map(cells_of_case, CASES, repeat(runs), repeat(seed)) for cell in cells]


def cells_of_case(name: str, runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    number, truth = list(CASES).index(name), CASES[name]
    missed, outside, by_normal, widths = Tally(), Tally(), Tally(), []
    for run in range(runs):
        blocks, shown = run_interval(np.random.default_rng([seed, 9, number, run]), truth)
        difference = truth.difference(0)
        missed.add(str(any(not holds(one, difference) for one in shown)), 0, 0)
        outside.add(str(any(not holds(one, one.estimate) for one in shown)), 0, 0)
        by_normal.add(str(_normal_misses(blocks, difference)), 0, 0)
        widths += [one.interval.upper - one.interval.lower for one in shown[-1:]]
    case = f"interval, {name}"
    if truth.stays:
        cells.append(share_cell(f"{case}: misses it ever", missed, "True", by_normal.share("True"), NORMAL))
    cells.append(share_cell(f"{case}: an estimate outside ever", outside, "True", None, NORMAL))
    points = [100 * width for width in widths]
    cells += mean_cell(f"{case}: points from end to end, last", points, None, NORMAL, "points, mean")
    progress(name)
    return cells


def holds(one: Running, difference: float) -> bool:
    return one.interval.lower - 1e-9 <= difference <= one.interval.upper + 1e-9


def _drawn(rng: np.random.Generator, n: int, mean: float, *, scores: bool) -> Outcomes:
    """Successes; or scores with a deviation of about .15, as a judge gives them."""
    if not scores:
        return Outcomes.binary(n, int(rng.binomial(n, mean)))
    return Outcomes.of(np.round(rng.beta(6 * mean, 6 * (1 - mean), size=n), 2))


def _normal_misses(blocks: Sequence[Block], difference: float) -> bool:
    """Whether a plain interval of the same confidence, of differences within the same blocks, ever misses it."""
    z = NormalDist().inv_cdf(1 - (ALPHA_SHIP + ALPHA_ROLL) / 2)
    total = weights = squares = 0.0
    labelled = 0
    for block in blocks:
        c, b = block.candidate.sums, block.champion.sums
        if c.mean is None or b.mean is None or c.variance is None or b.variance is None:
            continue
        weight = c.n * b.n / block.n
        labelled += block.n
        total, weights = total + weight * (c.mean - b.mean), weights + weight
        squares += weight**2 * (c.variance / c.n + b.variance / b.n)
        if labelled >= NORMAL_FROM and abs(total / weights - difference) > z * sqrt(squares) / weights:
            return True
    return False
