"""Intervals as people see them: of a difference of two means, valid at every look, of a share, and of a mean score."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor, sqrt
from typing import Literal

from optimizer.core.base.values import Interval
from optimizer.core.statistics.outcomes import Block, Evidence, Hypothesis, PlugIn, threshold, with_pending
from optimizer.core.statistics.quality_gate import QualityGate, log_factors, roll_hypothesis, ship_hypothesis

Z95 = 1.959964


def wilson_interval(n_success: float, n_total: int, *, z: float = Z95) -> Interval:
    """Score interval of a share, 95 % by default; honest for small n, never outside [0, 1].

    ``n_success`` may be a sum of ``n_total`` values in [0, 1], which spread at most as much as as many 0 and 1.

    8 of 10 gives (0.490, 0.943).

    Source: Wilson (1927), JASA 22(158), 209-212.
    """
    if not 0 <= n_success <= n_total or not n_total:
        raise ValueError(f"{n_success} of {n_total} is no share")
    share, zz = n_success / n_total, z * z / n_total
    middle, half = share + zz / 2, z * sqrt(share * (1 - share) / n_total + zz / (4 * n_total))
    return Interval(lower=max(0.0, (middle - half) / (1 + zz)), upper=min(1.0, (middle + half) / (1 + zz)))


def score_band(n: int, total: float, squares: float) -> Interval:
    """95 % interval of a mean of ``n`` scores in [0, 1], honest for few: two scores of 0 and two of 1 are added first.

    Args:
        total, squares: sums of the scores and of their squares.
    Source:
        Agresti and Coull (1998), American Statistician 52(2), 119-126, "add two successes and two failures"; for scores
        of 0 and 1 it is theirs, for others its normal interval of the mean.
    """
    n, total, squares = n + 4, total + 2, squares + 2
    mean = total / n
    half = Z95 * sqrt(max(0.0, squares / n - mean * mean) / n)
    return Interval(lower=max(0.0, mean - half), upper=min(1.0, mean + half))


def mean_score_interval(scores: Collection[float]) -> Interval | None:
    """95 % interval of the mean of scores in [0, 1], which few that are alike do not make a point; None without any."""
    return score_band(len(scores), sum(scores), sum(score * score for score in scores)) if scores else None


STEPS = 100  # of the grid, from 0 to 1
ROUNDING = 1e-9  # a mean of .30 lies on the grid though its float is .30000000000000004


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What is known of mean_c - mean_b after ``labelled`` outcomes of both arms."""

    labelled: int
    estimate: float  # in [-1, 1], within ``interval``
    interval: Interval


@lru_cache(maxsize=16)
def running_intervals(start: QualityGate, blocks: tuple[Block, ...]) -> tuple[Running, ...]:
    """Estimate and confidence interval of mean_c - mean_b after each block that the gate used.

    For a difference that stays the same, an interval is valid at every look, with confidence 1 - .05 - .03 = .92. The
    estimate is the mean of candidate - champion within each of these blocks, weighed by n_c n_b / (n_c + n_b). Around
    it, differences on a grid of .01 are tested with the gate's own alternatives: -margin as ship1 is, 0 as roll is. An
    end is the difference nearest to the estimate that the evidence of all blocks so far rejects, or the end of the
    scale. So the interval always holds the estimate, and its ends are rounded outwards. Gates keep their verdicts and
    this does not: a difference that was rejected once may lie within the interval again.

    Args:
        start: the gate before its first block.
        blocks: all blocks so far, in order; they are merged or left out as the gate does.
    """
    closed = _closed(start, blocks)
    lower, upper = _End(start, closed, sign=1), _End(start, closed, sign=-1)
    running, labelled, total, weights = [], start.labelled, 0.0, 0.0
    for place, block in enumerate(closed):
        candidate, champion = block.candidate.sums, block.champion.sums
        weight = candidate.n * champion.n / block.n
        total += weight * (candidate.total / candidate.n - champion.total / champion.n)
        weights += weight
        labelled += block.n
        estimate = total / weights
        interval = Interval(
            lower=lower.after(place, nearest=floor(estimate * STEPS + ROUNDING)) / STEPS,
            upper=upper.after(place, nearest=ceil(estimate * STEPS - ROUNDING)) / STEPS,
        )
        running.append(Running(labelled=labelled, estimate=estimate, interval=interval))
    return tuple(running)


class _End:
    """One end of the interval after each block, in steps of the grid; evidence is worked out only where it is needed.

    ``sign``: 1 for the lower end, -1 for the upper one. The farther a difference lies, the more speaks against it. So
    the search continues from the last end: towards the estimate while differences are rejected, else away from it.
    """

    def __init__(self, start: QualityGate, closed: Sequence[Block], *, sign: Literal[1, -1]) -> None:
        self._closed, self._kind, self._sign = closed, start.kind, sign
        self._hypothesis = ship_hypothesis(1, start.margin) if sign == 1 else roll_hypothesis(start.margin)
        self._rates: list[tuple[PlugIn, PlugIn]] = []  # champion's and candidate's before each block
        champion, candidate = start.champion, start.candidate
        for block in closed:
            self._rates.append((champion, candidate))
            champion, candidate = champion.after(block.champion), candidate.after(block.candidate)
        self._grid: dict[int, tuple[Hypothesis, list[Evidence]]] = {}
        self._at = -sign * STEPS

    def after(self, place: int, *, nearest: int) -> int:
        """The end after the blocks up to ``place`` (from 0). ``nearest`` is the last step before the estimate."""
        towards, edge = self._sign, -self._sign * STEPS
        at = min(self._at, nearest) if towards == 1 else max(self._at, nearest)
        if at == edge:  # nothing was rejected yet; for scores there is no bet on differences that far
            at = nearest
        if at != edge and self._rejects(at, place):
            while at != nearest and self._rejects(at + towards, place):
                at += towards
        else:
            while at != edge and not self._rejects(at, place):
                at -= towards
        self._at = at
        return at

    def _rejects(self, i: int, place: int) -> bool:
        if i not in self._grid:
            hypothesis_at = replace(self._hypothesis, boundary=i / STEPS)
            self._grid[i] = hypothesis_at, [Evidence.none(hypothesis_at.weights)]
        hypothesis, evidence = self._grid[i]
        while len(evidence) <= place + 1:
            block, (champion, candidate) = self._closed[len(evidence) - 1], self._rates[len(evidence) - 1]
            evidence.append(evidence[-1].after(log_factors(hypothesis, block, champion, candidate, self._kind)))
        return evidence[place + 1].log_e >= threshold(hypothesis.alpha)


def _closed(start: QualityGate, blocks: Sequence[Block]) -> list[Block]:
    closed, pending = [], start.pending
    for block in blocks:
        merged = with_pending(pending, block)
        ready = merged.has_both_arms and merged.n >= start.min_block
        if ready:
            closed.append(merged)
        pending = None if ready else merged
    return closed
