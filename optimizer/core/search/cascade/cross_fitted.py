"""The best thresholds of a chain, and how far a chain of several may go, estimated on records outside its fit.

Thresholds are exact for two and three tiers; for four, exact in any two thresholds while the third stays. With a limit
on the loss, moving one threshold at a time gets stuck on the limit: one tier can take more only if another takes less.
Two at a time can trade, so that is the step.

Several thresholds fitted together are lucky on their own records, and they have no order from safe to unsafe that one
could test along. So: the thresholds of least cost whose loss and z of its standard errors stay within the margin are
found on the other parts and judged on this one, for a row of z from cautious to none. The row is tested in sequence,
the first that fails ends it, and the last that holds is used on all records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import Column, TierRecords, answering_tier, loss_bound, loss_upper, outcome
from optimizer.core.search.cascade.sweep import (
    NEVER,
    SLACK,
    Limit,
    ThresholdPair,
    TwoKnobs,
    best_points,
    by_confidence,
    last_in_sequence,
)

# pairs of thresholds x limits looked at by one exact search; above it first thresholds are taken evenly by rank
MOST_CELLS = 400_000_000
MOST_ROUNDS = 3
DESCENT_FIRST = 48  # first thresholds looked at by a step of the descent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chain:
    """The records as a search needs them: loss against the strongest tier, and cost summed up to each tier."""

    confidence: Column
    loss: Column
    cost_usd: Column
    weight: Column

    def measured(self, accept: Sequence[float], z: float) -> tuple[float, float]:
        """Mean cost, which a setting minimizes, and the loss with z standard errors, which is limited."""
        tier = answering_tier(self.confidence, np.asarray(accept, dtype=float))
        rows = np.arange(len(tier))
        cost = float(self.weight @ self.cost_usd[rows, tier] / self.weight.sum())
        return cost, loss_bound(self.loss[rows, tier], self.weight, z)


def setting_of(tiers: Sequence[str], thresholds: Sequence[float]) -> CascadeSetting | None:
    """The tiers that are asked, of one threshold per tier but the last; None: only the last one is left.

    NEVER: that tier is not asked.
    """
    used = [(tier, value) for tier, value in zip(tiers, thresholds, strict=False) if value != NEVER]
    if not used:
        return None
    return CascadeSetting(tiers=(*(tier for tier, _ in used), tiers[-1]), accept=tuple(value for _, value in used))


def best_thresholds(
    records: TierRecords, limits: Sequence[Limit], *, most_first: int | None = None
) -> list[tuple[float, ...] | None]:
    """For every limit the thresholds with the least cost whose loss is within it; None: there are none.

    A tier may also be left out (NEVER), down to the strongest alone, so every chain of some of the tiers is searched.

    Args:
        records: complete, two to four tiers.
        limits: of the loss, as a share of the score's range.
        most_first: try at most so many first thresholds (quicker, and no longer exact).
    """
    n_knobs = len(records.tiers) - 1
    strong_usd = float(records.weight @ records.cost_usd[:, -1] / records.weight.sum())
    alone = _Incumbent(aim=strong_usd, accept=(NEVER,) * n_knobs)
    # The strongest alone loses nothing.
    best: list[_Incumbent | None] = [alone if limit.most + SLACK >= 0.0 else None for limit in limits]
    for length in range(1, n_knobs + 1):
        for places in combinations(range(n_knobs), length):
            shorter = records.chain([records.tiers[at] for at in (*places, n_knobs)])
            chain = _Chain(
                confidence=shorter.confidence,
                loss=shorter.score[:, -1:] - shorter.score,
                cost_usd=np.cumsum(shorter.cost_usd, axis=1),
                weight=shorter.weight,
            )
            for place, incumbent in enumerate(_solved(chain, limits, most_first)):
                if incumbent is None:
                    continue
                before = best[place]
                if before is None or incumbent.aim < before.aim - SLACK:
                    accept = [NEVER] * n_knobs
                    for at, value in zip(places, incumbent.accept, strict=True):
                        accept[at] = value
                    best[place] = replace(incumbent, accept=tuple(accept))
    return [None if incumbent is None else incumbent.accept for incumbent in best]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Incumbent:
    aim: float
    accept: tuple[float, ...]


def _solved(chain: _Chain, limits: Sequence[Limit], most_first: int | None) -> list[_Incumbent | None]:
    """The chain with all of its tiers asked."""
    n_knobs = chain.confidence.shape[1] - 1
    if n_knobs <= 2:
        room = max(2, MOST_CELLS // (len(chain.weight) * max(1, len(limits)))) if n_knobs == 2 else None
        allowed = min((x for x in (most_first, room) if x is not None), default=None)
        knobs = _knobs(chain, [NEVER] * n_knobs, 0, 1 if n_knobs == 2 else None)
        points = best_points(knobs, limits, most_first=allowed if n_knobs == 2 else None)
        return [None if p is None else _Incumbent(aim=p.aim, accept=(p.first, p.second)[:n_knobs]) for p in points]
    incumbents: list[_Incumbent | None] = []
    start: tuple[float, ...] | None = None
    for limit in limits:
        start = _descend(chain, limit, start, min(most_first or DESCENT_FIRST, DESCENT_FIRST))
        incumbents.append(None if start is None else _Incumbent(aim=chain.measured(start, limit.z)[0], accept=start))
    return incumbents


def _descend(chain: _Chain, limit: Limit, start: tuple[float, ...] | None, most_first: int) -> tuple[float, ...] | None:
    """Thresholds that no pair improves: from ``start``, or from the best of every two (the third is NEVER)."""
    never = (NEVER,) * (chain.confidence.shape[1] - 1)
    starts = (
        {start} if start is not None else {_moved(never, *step) for step in _steps(chain, limit, never, most_first)}
    )
    ends = [_settled(chain, limit, one, most_first) for one in sorted(starts)]
    return min(
        (end for end in ends if end is not None),
        key=lambda accept: chain.measured(accept, limit.z)[0],
        default=None,
    )


def _settled(chain: _Chain, limit: Limit, accept: tuple[float, ...], most_first: int) -> tuple[float, ...] | None:
    """The thresholds, once they are within the limit; None where the start is outside the limit and stays there."""
    aim, constraint = chain.measured(accept, limit.z)
    if constraint > limit.most + SLACK:
        return None
    for _ in range(MOST_ROUNDS):
        before = aim
        for moved, point in _steps(chain, limit, accept, most_first):
            changed = _moved(accept, moved, point)
            new_aim, constraint = chain.measured(changed, limit.z)
            if new_aim < aim - SLACK and constraint <= limit.most + SLACK:
                accept, aim = changed, new_aim
        if aim >= before - SLACK:
            break
    return accept


def _steps(
    chain: _Chain, limit: Limit, accept: tuple[float, ...], most_first: int
) -> Iterator[tuple[tuple[int, int], ThresholdPair]]:
    """The best point of every two knobs with the others as they are; those without one are left out."""
    for moved in combinations(range(len(accept)), 2):
        point = best_points(_knobs(chain, accept, *moved), [limit], most_first=most_first)[0]
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


CAUTION = (4.0, 3.0, 2.5, 2.0, 1.75, 1.5, 1.25, 1.0, 0.5, 0.0)  # z: standard errors kept between loss and margin
N_FOLDS = 5  # parts of the records, where no others are named
MOST_FIRST = 96  # first thresholds that are tried per part; the choice of the limit needs no more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossPath:
    """``chosen``: thresholds for all records at the least caution that held (NEVER for all: none did).

    ``upper``: the bound of the loss out of sample, for each of CAUTION. ``cost_usd``: per record, out of sample, at the
    one held.
    """

    chosen: tuple[float, ...]
    held: int  # index into CAUTION; -1: none
    upper: Column
    cost_usd: Column

    @property
    def held_upper(self) -> float | None:
        """The bound out of sample at the caution that held."""
        return float(self.upper[self.held]) if self.held >= 0 else None


def folds_of(n: int, folds: Sequence[int] | None) -> NDArray[np.intp]:
    """The part of each of ``n`` records; by default they are dealt out in turn."""
    return np.arange(n, dtype=np.intp) % min(N_FOLDS, n) if folds is None else np.asarray(folds, dtype=np.intp)


def folds_by_group(groups: Sequence[str]) -> list[int]:
    """Groups dealt out in turn, in the order of their first row: rows of one user or thread are never on both sides."""
    places = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    return [places[group] % N_FOLDS for group in groups]


def loss_path(records: TierRecords, folds: NDArray[np.intp], margin: float, level: float) -> LossPath:
    """Cross-fitted test of every caution, and the thresholds of the least that holds.

    The level is that of each test's own bound, which takes the records as independent though parts share fitted
    thresholds; what that does to the error rate is measured (docs/reference/cascades-measured.md), not proved.
    """
    limits = [Limit(most=margin, z=z) for z in CAUTION]
    never = (NEVER,) * (len(records.tiers) - 1)
    loss, cost = np.empty((len(limits), len(records))), np.empty((len(limits), len(records)))
    is_kept = np.empty((len(limits), len(records)), dtype=bool)
    for fold in np.unique(folds):
        other, own = records.take(folds != fold), np.flatnonzero(folds == fold)
        for at, thresholds in enumerate(best_thresholds(other, limits, most_first=MOST_FIRST)):
            loss[at, own], cost[at, own], is_kept[at, own] = losses_and_costs(records.take(own), thresholds or never)
    upper = np.array([loss_upper(loss[at], records.weight, is_kept[at], level) for at in range(len(limits))])
    last_held = last_in_sequence(upper, margin)
    # Where a cheaper tier answered nothing out of sample, nothing was lost and nothing was tested either: all records
    # may allow what four fifths of them did not.
    if last_held < 0 or not is_kept[last_held].any():
        return LossPath(chosen=never, held=-1, upper=upper, cost_usd=records.cost_usd[:, -1])
    chosen = best_thresholds(records, [limits[last_held]])[0] or never
    return LossPath(chosen=chosen, held=last_held, upper=upper, cost_usd=cost[last_held])


def losses_and_costs(records: TierRecords, thresholds: Sequence[float]) -> tuple[Column, Column, NDArray[np.bool_]]:
    """Per record: loss, cost, and whether a cheaper tier answered. Tiers that never answer are not asked."""
    setting = setting_of(records.tiers, thresholds)
    if setting is None:
        return np.zeros(len(records)), records.cost_usd[:, -1], np.zeros(len(records), dtype=bool)
    happened = outcome(records, setting)
    return records.score[:, -1] - happened.score, happened.cost_usd, happened.tier < len(setting.tiers) - 1


def shares_of(records: TierRecords, accept: Sequence[float]) -> tuple[float, ...]:
    """For each tier but the last the share that it answers, in [0, 1], of what it could answer: of the records that
    reach it with a known confidence, by the strongest tier's dollars (where nothing has a price, by their weight).
    """
    worth, shares = _worth(records), list[float]()
    reached = np.ones(len(records), dtype=bool)
    for confidence, least in zip(records.confidence.T, accept, strict=False):
        answered = reached & (confidence >= least)
        known = float(worth[reached & ~np.isnan(confidence)].sum())
        shares.append(float(worth[answered].sum()) / known if known > 0 else 0.0)
        reached &= ~answered
    return tuple(shares)


def thresholds_at(records: TierRecords, shares: Sequence[float]) -> tuple[float, ...]:
    """The opposite of ``shares_of``: for each tier but the last the first threshold, from the safest on, at which it
    answers so much.
    """
    worth, accept = _worth(records), list[float]()
    reached = np.ones(len(records), dtype=bool)
    for confidence, share in zip(records.confidence.T, shares, strict=False):
        order, ends = by_confidence(np.where(reached, confidence, np.nan))
        least = NEVER
        if share > 0 and len(ends):
            summed = np.cumsum(worth[order])[ends]
            place = int(np.searchsorted(summed, (share - SLACK) * summed[-1]))
            least = float(confidence[order[ends[min(place, len(ends) - 1)]]])
        accept.append(least)
        reached &= ~(confidence >= least)
    return tuple(accept)


def _worth(records: TierRecords) -> Column:
    usd = records.weight * records.cost_usd[:, -1]
    return usd if usd.any() else records.weight


def cross_fitted(
    records: TierRecords, settings: Sequence[Sequence[float]], folds: Sequence[int] | None = None
) -> list[tuple[float, float]]:
    """Mean loss and dollars that each setting may be expected to have on records to which it was not fitted.

    Every part is judged by the thresholds at which the tiers answer as much of the other parts. The search is not made
    again on these: fewer records prove less, and where they prove nothing, the prediction would be of no cascade at
    all.

    Args:
        settings: of each the share that every tier answers, as of ``shares_of``.
        folds: the part of each record; rows of one group belong together.
    """
    parts = folds_of(len(records), folds)
    loss, cost_usd = np.empty((len(settings), len(records))), np.empty((len(settings), len(records)))
    for part in np.unique(parts):
        others, own = records.take(parts != part), np.flatnonzero(parts == part)
        judged = records.take(own)
        for at, shares in enumerate(settings):
            loss[at, own], cost_usd[at, own], _ = losses_and_costs(judged, thresholds_at(others, shares))
    return [(records.mean(loss[at]), records.mean(cost_usd[at])) for at in range(len(settings))]


N_STEPS = 128  # steps of the dollars that the pair can save; more than are ever proposed


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedSetting:
    """A setting, what it does on the rows it was fitted to, and what it is predicted to do on others.

    saved_fitted: share of the strongest tier's dollars, below 1. loss_fitted, loss: of its mean score, in [-1, 1].
    cost_usd: per row.
    """

    setting: CascadeSetting
    saved_fitted: float
    loss_fitted: float
    loss: float
    cost_usd: float


def path_of_pair(records: TierRecords, folds: Sequence[int]) -> list[FittedSetting]:
    """The thresholds that first save k/128 of all that can be saved, k = 1 to 128, from the boldest to the safest.

    A bolder setting is predicted to lose no less than a safer one, which it contains.

    Args:
        records: complete, two tiers.
        folds: the part of each record; rows of one group belong together.
    """
    steps = [(k / N_STEPS,) for k in range(1, N_STEPS + 1)]
    strong_usd, most_loss = records.mean(records.cost_usd[:, -1]), -np.inf
    settings = list[FittedSetting]()
    for step, (loss, cost_usd) in zip(steps, cross_fitted(records, steps, folds), strict=True):
        most_loss = max(most_loss, loss)
        setting = setting_of(records.tiers, accept := thresholds_at(records, step))
        if setting is None or (settings and settings[-1].setting == setting):
            continue
        fitted_loss, fitted_usd, _ = losses_and_costs(records, accept)
        settings.append(
            FittedSetting(
                setting=setting,
                saved_fitted=1 - records.mean(fitted_usd) / strong_usd if strong_usd > 0 else 0.0,
                loss_fitted=records.mean(fitted_loss),
                loss=most_loss,
                cost_usd=cost_usd,
            )
        )
    return settings[::-1]
