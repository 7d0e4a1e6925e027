"""The best thresholds of a chain: exact for two and three tiers; for four, exact in any two thresholds while the third stays.

With a limit on the loss, moving one threshold at a time gets stuck on the limit: one tier can take more only if another takes less.
Two at a time can trade, so that is the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from optimizer.core.policy.cascade import CascadeSetting, answering_tier
from optimizer.core.policy.records import Column, TierRecords
from optimizer.core.policy.sweep import NEVER, SLACK, Point, TwoKnobs, best_points

Least = Literal["cost_usd", "loss"]
MOST_CELLS = 400_000_000  # pairs of thresholds x limits looked at by one exact search; above it first thresholds are taken evenly by rank
MOST_ROUNDS = 4
DESCENT_FIRST = 64  # first thresholds looked at by a step of the descent


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """One threshold per tier but the last; NEVER: that tier's answer is never taken. ``exact``: none is better on the records."""

    accept: tuple[float, ...]
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chain:
    """The records as a search needs them: loss against the strongest tier, and cost summed up to each tier."""

    confidence: Column
    loss: Column
    cost_usd: Column
    weight: Column

    def means(self, accept: Sequence[float]) -> tuple[float, float]:
        """Cost and loss of a setting."""
        tier = answering_tier(self.confidence, np.asarray(accept, dtype=float))
        rows, share = np.arange(len(tier)), self.weight / self.weight.sum()
        return float(share @ self.cost_usd[rows, tier]), float(share @ self.loss[rows, tier])


def setting_of(tiers: Sequence[str], thresholds: Thresholds) -> CascadeSetting | None:
    """Tiers whose answer is never taken are not asked at all; None: only the last one is left."""
    kept = [(tier, value) for tier, value in zip(tiers, thresholds.accept, strict=False) if value != NEVER]
    if not kept:
        return None
    return CascadeSetting(tiers=(*(tier for tier, _ in kept), tiers[-1]), accept=tuple(value for _, value in kept))


def best_thresholds(
    records: TierRecords, least: Least, limits: Sequence[float], *, most_first: int | None = None
) -> list[Thresholds | None]:
    """For every limit the thresholds with the least cost (loss) whose loss (cost) is at most the limit; None: there are none.

    Args:
        records: complete, two to four tiers.
        limits: of the loss, as a share of the score's range, or of the mean cost in dollars.
        most_first: look at no more first thresholds than this (quicker, no longer exact).
    """
    chain = _Chain(
        confidence=records.confidence,
        loss=records.score[:, -1:] - records.score,
        cost_usd=np.cumsum(records.cost_usd, axis=1),
        weight=records.weight,
    )
    n_knobs = len(records.tiers) - 1
    if n_knobs <= 2:
        blocks = (0, 1) if n_knobs == 2 else (0, None)
        room = max(2, MOST_CELLS // (len(records) * max(1, len(limits)))) if n_knobs == 2 else None
        allowed = min((x for x in (most_first, room) if x is not None), default=None)
        points = best_points(_knobs(chain, [NEVER] * n_knobs, *blocks), least, limits, most_first=allowed)
        return [None if p is None else Thresholds(accept=(p.first, p.second)[:n_knobs], exact=p.exact) for p in points]
    found = []
    start: tuple[float, ...] | None = None
    for limit in limits:
        best = _descend(chain, least, limit, start, min(most_first or DESCENT_FIRST, DESCENT_FIRST))
        found.append(None if best is None else Thresholds(accept=best, exact=False))
        start = best
    return found


def _descend(chain: _Chain, least: Least, limit: float, start: tuple[float, ...] | None, most_first: int) -> tuple[float, ...] | None:
    """From the exact optimum of every two thresholds (the third never), and from ``start``: two at a time until nothing improves."""
    n_knobs = chain.confidence.shape[1] - 1
    starts = {start} if start is not None else set[tuple[float, ...]]()
    for moved, point in _steps(chain, least, limit, (NEVER,) * n_knobs, most_first):
        starts.add(_moved((NEVER,) * n_knobs, moved, point))
    ends = [_settled(chain, least, limit, one, most_first) for one in sorted(starts)]
    return min(ends, key=lambda accept: _worth(chain, least, accept), default=None)


def _settled(chain: _Chain, least: Least, limit: float, accept: tuple[float, ...], most_first: int) -> tuple[float, ...]:
    for _ in range(MOST_ROUNDS):
        before = _worth(chain, least, accept)
        for moved, point in _steps(chain, least, limit, accept, most_first):
            changed = _moved(accept, moved, point)
            if _worth(chain, least, changed) < _worth(chain, least, accept) and chain.means(changed)[least == "cost_usd"] <= limit + SLACK:
                accept = changed
        if _worth(chain, least, accept) >= before - SLACK:
            break
    return accept


def _steps(
    chain: _Chain, least: Least, limit: float, accept: tuple[float, ...], most_first: int
) -> Iterator[tuple[tuple[int, int], Point]]:
    """The best point of every two knobs with the others as they are; those without one are left out."""
    for moved in combinations(range(len(accept)), 2):
        point = best_points(_knobs(chain, accept, *moved), least, [limit], most_first=most_first)[0]
        if point is not None:
            yield moved, point


def _moved(accept: tuple[float, ...], moved: tuple[int, int], point: Point) -> tuple[float, ...]:
    return tuple(point.first if at == moved[0] else point.second if at == moved[1] else value for at, value in enumerate(accept))


def _worth(chain: _Chain, least: Least, accept: tuple[float, ...]) -> float:
    return chain.means(accept)[least == "loss"]


def _knobs(chain: _Chain, accept: Sequence[float], first: int, second: int | None) -> TwoKnobs:
    """Two free thresholds while the others stay. Records that a fixed threshold stops before a free one never reach that one."""
    n, last = len(chain.weight), chain.confidence.shape[1] - 1
    free = {first, second}
    rest = np.full(n, last)  # the tier where a record stops that no free threshold stops
    reached = np.ones((n, last + 1), dtype=bool)
    for tier in range(last):
        fixed = chain.confidence[:, tier] >= accept[tier] if tier not in free else np.zeros(n, dtype=bool)
        rest[fixed & reached[:, tier]] = tier
        reached[:, tier + 1] = reached[:, tier] & ~fixed
    at_first = np.where(reached[:, first], first, rest)
    at_second = rest if second is None else np.where(reached[:, second], second, rest)
    rows, ends = np.arange(n)[:, None], np.stack([at_first, at_second, rest], axis=1)
    never = np.full(n, np.nan)
    return TwoKnobs(
        first=np.where(reached[:, first], chain.confidence[:, first], np.nan),
        second=never if second is None else np.where(reached[:, second], chain.confidence[:, second], np.nan),
        loss=chain.loss[rows, ends],
        cost_usd=chain.cost_usd[rows, ends],
        weight=chain.weight,
    )
