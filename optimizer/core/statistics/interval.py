"""The difference of the means as shown to people: every value that the same evidence does not rule out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from optimizer.core.base.values import Interval
from optimizer.core.statistics.mixture import Evidence, Hypothesis, threshold
from optimizer.core.statistics.outcomes import Block, gather
from optimizer.core.statistics.quality_gate import QualityGate, log_factors, roll_hypothesis, ship_hypothesis

STEP = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The interval after so many labelled outcomes of both arms."""

    labelled: int
    interval: Interval


@lru_cache(maxsize=16)
def running_intervals(start: QualityGate, blocks: tuple[Block, ...], *, step: float = STEP) -> tuple[Running, ...]:
    """Confidence interval of mean_c - mean_b after each block that the gate used, valid at every look;
    confidence 1 - .05 - .03 = .92.

    Differences on a grid are tested with the gate's own alternatives, so the interval tells what the gates tell:
    -margin is tested as ship1 does, 0 as roll does. It reaches from the lowest to the highest difference that is not
    rejected; what is rejected stays rejected, so all of them cost as much as the last one.

    Args:
        start: the gate before its first block.
        blocks: all blocks so far, in order; merged as the gate does.
    """
    closed = _closed(start, blocks)
    grid = [round(i * step, 9) for i in range(-round(1 / step) + 1, round(1 / step))]
    lowest = _until_kept(ship_hypothesis(1, start.margin), grid, start, closed)
    highest = _until_kept(roll_hypothesis(start.margin), grid[::-1], start, closed)
    found, labelled = [], start.labelled
    for place, block in enumerate(closed, start=1):
        labelled += block.n
        lower = next((d for d, rejected_at in lowest if rejected_at > place), 1.0)
        upper = next((d for d, rejected_at in highest if rejected_at > place), -1.0)
        interval = Interval(
            lower=-1.0 if lower == grid[0] else min(lower, upper),
            upper=1.0 if upper == grid[-1] else max(lower, upper),
        )
        found.append(Running(labelled=labelled, interval=interval))
    return tuple(found)


def _until_kept(
    hypothesis: Hypothesis, grid: Sequence[float], start: QualityGate, closed: Sequence[Block]
) -> list[tuple[float, int]]:
    """(difference, number of the block that rejects it) along the grid,
    up to the first difference that no block rejects.
    """
    found = []
    for d in grid:
        rejected_at = _rejected_at(replace(hypothesis, boundary=d), start, closed)
        found.append((d, rejected_at))
        if rejected_at > len(closed):
            break
    return found


def _closed(start: QualityGate, blocks: Sequence[Block]) -> list[Block]:
    closed, pending = [], start.pending
    for block in blocks:
        merged = gather(pending, block)
        ready = merged.has_both_arms and merged.n >= start.min_block
        if ready:
            closed.append(merged)
        pending = None if ready else merged
    return closed


def _rejected_at(hypothesis: Hypothesis, start: QualityGate, closed: Sequence[Block]) -> int:
    """One more than there are blocks when none rejects it."""
    evidence, champion, candidate = Evidence.none(hypothesis.weights), start.champion, start.candidate
    for place, block in enumerate(closed, start=1):
        evidence = evidence.after(log_factors(hypothesis, block, champion, candidate, start.kind))
        if evidence.peak >= threshold(hypothesis.alpha):
            return place
        champion, candidate = champion.after(block.champion), candidate.after(block.candidate)
    return len(closed) + 1
