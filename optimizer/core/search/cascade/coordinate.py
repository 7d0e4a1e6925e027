"""The best thresholds of a chain: exact for two and three tiers; for four,
exact in any two thresholds while the third stays.

With a limit on the loss, moving one threshold at a time gets stuck on the limit: one tier can take more only if another
takes less. Two at a time can trade, so that is the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import Column, TierRecords, answering_tier, loss_bound
from optimizer.core.search.cascade.sweep import NEVER, SLACK, Limit, ThresholdPair, TwoKnobs, best_points

Least = Literal["cost_usd", "loss"]
# pairs of thresholds x limits looked at by one exact search; above it first thresholds are taken evenly by rank
MOST_CELLS = 400_000_000
MOST_ROUNDS = 3
DESCENT_FIRST = 48  # first thresholds looked at by a step of the descent


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """One threshold per tier but the last; NEVER: that tier is not asked. ``exact``: none is better on the records."""

    accept: tuple[float, ...]
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chain:
    """The records as a search needs them: loss against the strongest tier, and cost summed up to each tier."""

    confidence: Column
    loss: Column
    cost_usd: Column
    weight: Column

    def measured(self, accept: Sequence[float], least: Least, z: float) -> tuple[float, float]:
        """What a setting makes least, and what the limit holds:
        cost and loss (with z standard errors), or loss and cost.
        """
        tier = answering_tier(self.confidence, np.asarray(accept, dtype=float))
        rows = np.arange(len(tier))
        cost = float(self.weight @ self.cost_usd[rows, tier] / self.weight.sum())
        loss = self.loss[rows, tier]
        if least == "loss":
            return float(self.weight @ loss / self.weight.sum()), cost
        return cost, loss_bound(loss, self.weight, z)


def setting_of(tiers: Sequence[str], thresholds: Thresholds) -> CascadeSetting | None:
    """The tiers that are asked; None: only the last one is left."""
    used = [(tier, value) for tier, value in zip(tiers, thresholds.accept, strict=False) if value != NEVER]
    if not used:
        return None
    return CascadeSetting(tiers=(*(tier for tier, _ in used), tiers[-1]), accept=tuple(value for _, value in used))


def best_thresholds(
    records: TierRecords, least: Least, limits: Sequence[Limit], *, most_first: int | None = None
) -> list[Thresholds | None]:
    """For every limit the thresholds with the least cost (loss) whose loss (cost) is within it; None: there are none.

    A tier may also not be asked at all (NEVER), down to the strongest alone:
    every chain of some of the tiers is searched.

    Args:
        records: complete, two to four tiers.
        limits: of the loss, as a share of the score's range, or of the mean cost in dollars.
        most_first: look at no more first thresholds than this (quicker, no longer exact).
    """
    n_knobs = len(records.tiers) - 1
    alone = _Incumbent(aim=0.0, accept=(NEVER,) * n_knobs, exact=True)
    strong_usd = float(records.weight @ records.cost_usd[:, -1] / records.weight.sum())
    best: list[_Incumbent | None] = []
    for limit in limits:
        aim, constraint = (strong_usd, 0.0) if least == "cost_usd" else (0.0, strong_usd)
        best.append(replace(alone, aim=aim) if constraint <= limit.most + SLACK else None)
    exact = True
    for length in range(1, n_knobs + 1):
        for places in combinations(range(n_knobs), length):
            chain = _chain(records.chain([records.tiers[at] for at in (*places, n_knobs)]))
            for place, incumbent in enumerate(_solved(chain, least, limits, most_first)):
                if incumbent is None:
                    continue
                exact = exact and incumbent.exact
                before = best[place]
                if before is None or incumbent.aim < before.aim - SLACK:
                    accept = [NEVER] * n_knobs
                    for at, value in zip(places, incumbent.accept, strict=True):
                        accept[at] = value
                    best[place] = replace(incumbent, accept=tuple(accept))
    exact = exact and n_knobs <= 2
    return [None if incumbent is None else Thresholds(accept=incumbent.accept, exact=exact) for incumbent in best]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Incumbent:
    aim: float
    accept: tuple[float, ...]
    exact: bool


def _chain(records: TierRecords) -> _Chain:
    return _Chain(
        confidence=records.confidence,
        loss=records.score[:, -1:] - records.score,
        cost_usd=np.cumsum(records.cost_usd, axis=1),
        weight=records.weight,
    )


def _solved(chain: _Chain, least: Least, limits: Sequence[Limit], most_first: int | None) -> list[_Incumbent | None]:
    """The chain with all of its tiers asked."""
    n_knobs = chain.confidence.shape[1] - 1
    if n_knobs <= 2:
        room = max(2, MOST_CELLS // (len(chain.weight) * max(1, len(limits)))) if n_knobs == 2 else None
        allowed = min((x for x in (most_first, room) if x is not None), default=None)
        knobs = _knobs(chain, [NEVER] * n_knobs, 0, 1 if n_knobs == 2 else None)
        points = best_points(knobs, least, limits, most_first=allowed if n_knobs == 2 else None)
        return [
            None if p is None else _Incumbent(aim=p.aim, accept=(p.first, p.second)[:n_knobs], exact=p.exact)
            for p in points
        ]
    incumbents: list[_Incumbent | None] = []
    start: tuple[float, ...] | None = None
    for limit in limits:
        start = _descend(chain, least, limit, start, min(most_first or DESCENT_FIRST, DESCENT_FIRST))
        incumbents.append(
            None
            if start is None
            else _Incumbent(aim=chain.measured(start, least, limit.z)[0], accept=start, exact=False)
        )
    return incumbents


def _descend(
    chain: _Chain, least: Least, limit: Limit, start: tuple[float, ...] | None, most_first: int
) -> tuple[float, ...] | None:
    """From ``start``, or else from the best of every two thresholds (the third never):
    two at a time until nothing improves.
    """
    never = (NEVER,) * (chain.confidence.shape[1] - 1)
    starts = (
        {start}
        if start is not None
        else {_moved(never, *step) for step in _steps(chain, least, limit, never, most_first)}
    )
    ends = [_settled(chain, least, limit, one, most_first) for one in sorted(starts)]
    return min(
        (end for end in ends if end is not None),
        key=lambda accept: chain.measured(accept, least, limit.z)[0],
        default=None,
    )


def _settled(
    chain: _Chain, least: Least, limit: Limit, accept: tuple[float, ...], most_first: int
) -> tuple[float, ...] | None:
    """None: the start is outside the limit and stays there."""
    aim, constraint = chain.measured(accept, least, limit.z)
    if constraint > limit.most + SLACK:
        return None
    for _ in range(MOST_ROUNDS):
        before = aim
        for moved, point in _steps(chain, least, limit, accept, most_first):
            changed = _moved(accept, moved, point)
            new_aim, constraint = chain.measured(changed, least, limit.z)
            if new_aim < aim - SLACK and constraint <= limit.most + SLACK:
                accept, aim = changed, new_aim
        if aim >= before - SLACK:
            break
    return accept


def _steps(
    chain: _Chain, least: Least, limit: Limit, accept: tuple[float, ...], most_first: int
) -> Iterator[tuple[tuple[int, int], ThresholdPair]]:
    """The best point of every two knobs with the others as they are; those without one are left out."""
    for moved in combinations(range(len(accept)), 2):
        point = best_points(_knobs(chain, accept, *moved), least, [limit], most_first=most_first)[0]
        if point is not None:
            yield moved, point


def _moved(accept: tuple[float, ...], moved: tuple[int, int], point: ThresholdPair) -> tuple[float, ...]:
    return tuple(
        point.first if at == moved[0] else point.second if at == moved[1] else value for at, value in enumerate(accept)
    )


def _knobs(chain: _Chain, accept: Sequence[float], first: int, second: int | None) -> TwoKnobs:
    """Two free thresholds while the others stay.

    Records that a fixed threshold stops before a free one never reach that one.
    """
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
