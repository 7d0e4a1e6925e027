"""The difference of the means as shown to people: every value that the same evidence does not rule out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optimizer.core.comparison import Interval
from optimizer.core.statistics.mixture import Evidence, Hypothesis, threshold
from optimizer.core.statistics.outcomes import Block, gather
from optimizer.core.statistics.quality_gate import QualityGate, log_factors, roll_hypothesis, ship_hypothesis

STEP = 0.01


def difference_interval(start: QualityGate, blocks: Sequence[Block], *, step: float = STEP) -> Interval:
    """Confidence interval of mean_c - mean_b, valid at every look; confidence 1 - .05 - .03 = .92.

    Differences on a grid are tested with the gate's own alternatives, so the interval tells what the gates tell: -margin is tested as
    ship1 does, 0 as roll does. It reaches from the lowest to the highest difference that is not rejected.

    Args:
        start: the gate before its first block.
        blocks: all blocks so far, in order; merged as the gate does.
    Returns:
        Interval; (-1, 1) without evidence.
    """
    closed = _closed(start, blocks)
    grid = [round(i * step, 9) for i in range(-round(1 / step) + 1, round(1 / step))]
    above, below = ship_hypothesis(1, start.margin), roll_hypothesis(start.margin)
    lower = next((d for d in grid if not _rejected(replace(above, boundary=d), start, closed)), 1.0)
    upper = next((d for d in reversed(grid) if not _rejected(replace(below, boundary=d), start, closed)), -1.0)
    return Interval(
        lower=-1.0 if lower == grid[0] else min(lower, upper),
        upper=1.0 if upper == grid[-1] else max(lower, upper),
    )


def _closed(start: QualityGate, blocks: Sequence[Block]) -> list[Block]:
    closed, pending = [], start.pending
    for block in blocks:
        merged = gather(pending, block)
        ready = merged.has_both_arms and merged.n >= start.min_block
        if ready:
            closed.append(merged)
        pending = None if ready else merged
    return closed


def _rejected(hypothesis: Hypothesis, start: QualityGate, closed: Sequence[Block]) -> bool:
    evidence, champion, candidate = Evidence.none(hypothesis.weights), start.champion, start.candidate
    for block in closed:
        evidence = evidence.after(log_factors(hypothesis, block, champion, candidate, start.kind))
        champion, candidate = champion.after(block.champion), candidate.after(block.candidate)
    return evidence.peak >= threshold(hypothesis.alpha)
