"""Every threshold of one knob, and every pair of thresholds of two, on the records: sorted once, then summed up.

For chains of two and three tiers nothing is sampled; of four the first threshold is tried at 48 values at most.

A threshold matters only where it passes a recorded confidence, and records of equal confidence are taken together: no
threshold can split them. So the distinct confidences, and ``NEVER`` above them, are all there is to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import Column, TierRecords
from optimizer.core.search.cascade.weighted import BOUNDED_LOSSES, WeightedSums, clean_upper

NEVER = float("inf")
SLACK = 1e-12  # sums of the same values in another order may differ by this much
BLOCK = 4_000_000  # cells of a grid held at once: 32 MB a matrix
# pairs of thresholds x limits looked at by one exact search; above it first thresholds are taken evenly by rank
MOST_CELLS = 400_000_000
MOST_OF_FOUR = 48  # first thresholds, and second ones with each, that a chain of four tiers is searched by
Least = Literal["cost_usd", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossCurve:
    """One entry per threshold, the safest (``NEVER``) first.

    Means per query; ``upper``: one-sided bound of the loss at each alone.
    """

    threshold: Column
    loss: Column
    upper: Column
    cost_usd: Column
    answered_share: Column  # by the cheap tier


def curve(pair: TierRecords, *, level: float = 0.9, before_call: bool = False) -> LossCurve:
    """All thresholds of a pair: O(n log n), 10^6 records in under a second.

    Args:
        pair: complete records of two tiers.
        level: of the one-sided bound, in (0, 1).
        before_call: the confidence is known before the cheap tier is called (a router): what is not accepted never pays
            for it.
    """
    order, ends = _sorted(pair.confidence[:, 0])
    weight, total = pair.weight[order], float(pair.weight.sum())
    loss = (pair.score[:, 1] - pair.score[:, 0])[order]
    cheap, strong = pair.cost_usd[:, 0], pair.cost_usd[:, 1]
    saved = strong[order] - (cheap[order] if before_call else 0.0)
    spent = float(pair.weight @ (strong if before_call else cheap + strong))
    first, saved_sum, weight_above, squares = (
        _summed(x, ends) for x in (weight * loss, weight * saved, weight, weight**2)
    )
    each = np.divide(squares, weight_above, out=np.zeros_like(weight_above), where=weight_above > 0)
    sums = WeightedSums(
        total=total,
        first=first,
        squared=float(pair.weight @ pair.weight),
        cross=_summed(weight**2 * loss, ends),
        squares=_summed((weight * loss) ** 2, ends),
    )
    middle, error = sums.extended(BOUNDED_LOSSES, each)
    upper = middle + NormalDist().inv_cdf(level) * error
    clean = (np.asarray(sums.squares) == 0) & (weight_above > 0)
    upper[clean] = clean_upper(total / each[clean], level)
    return LossCurve(
        threshold=np.concatenate(([NEVER], pair.confidence[order[ends], 0])),
        loss=first / total,
        upper=np.where(weight_above > 0, upper, 0.0),  # without an answer of its own it cannot lose
        cost_usd=(spent - saved_sum) / total,
        answered_share=weight_above / total,
    )


def last_in_sequence(upper: Column, margin: float) -> int:
    """Index of the last bound reached before the first that passes ``margin``.

    Thresholds are tested from the safest on, and the first that fails ends it. So whatever the number of thresholds, a
    loss above the margin is accepted only if the first threshold that has one passes its own test:
    the level needs no correction.

    Source: Learn then Test, fixed-sequence testing: Angelopoulos, Bates, Candès, Jordan, Lei (2021), arXiv:2110.01052,
    section 2.3.
    """
    failed = np.flatnonzero(upper > margin + SLACK)
    return int(failed[0]) - 1 if len(failed) else len(upper) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoKnobs:
    """What one or two thresholds decide per record: stop at the first, at the second, or go on.

    ``accepted``: the confidences that they are compared with, one column each; NaN: it never stops there.
    ``loss`` and ``cost_usd``: n x 3, of stopping at the first, at the second, at neither.
    """

    accepted: Column
    loss: Column
    cost_usd: Column
    weight: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``value`` plus ``z`` standard errors is at most ``most``.

    With z 0 the records are believed as they are. Losses only have a z.
    """

    most: float
    z: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """One threshold per tier but the last; NEVER: that tier is not asked. ``exact``: none is better on the records.

    ``aim``: the mean cost or loss that was made least.
    """

    accept: tuple[float, ...]
    exact: bool
    aim: float = 0.0


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
    strong_usd = float(records.weight @ records.cost_usd[:, -1] / records.weight.sum())
    aim, constraint = (strong_usd, 0.0) if least == "cost_usd" else (0.0, strong_usd)
    alone = Thresholds(accept=(NEVER,) * n_knobs, exact=True, aim=aim)
    best = [alone if constraint <= limit.most + SLACK else None for limit in limits]
    exact = True
    for length in range(1, n_knobs + 1):
        for places in combinations(range(n_knobs), length):
            chain = records.chain([records.tiers[at] for at in (*places, n_knobs)])
            for at, thresholds in enumerate(_best_of_chain(chain, least, limits, most_first)):
                if thresholds is None:
                    continue
                exact = exact and thresholds.exact
                before = best[at]
                if before is None or thresholds.aim < before.aim - SLACK:
                    asked = dict(zip(places, thresholds.accept, strict=True))
                    best[at] = replace(thresholds, accept=tuple(asked.get(place, NEVER) for place in range(n_knobs)))
    return [None if thresholds is None else replace(thresholds, exact=exact) for thresholds in best]


def _best_of_chain(
    chain: TierRecords, least: Least, limits: Sequence[Limit], most_first: int | None
) -> list[Thresholds | None]:
    """With all of its tiers asked: one or two thresholds swept, of three the first at values evenly spaced by rank."""
    n_knobs = len(chain.tiers) - 1
    if n_knobs < 3:
        room = max(2, MOST_CELLS // (len(chain) * max(1, len(limits))))
        return best_points(_knobs(chain, None), least, limits, most_first=min(most_first or room, room))
    order, ends = _sorted(chain.confidence[:, 0])
    values = chain.confidence[order[ends], 0]
    looked_at = values[np.unique(np.linspace(0, len(values) - 1, min(MOST_OF_FOUR, len(values))).astype(int))]
    best: list[Thresholds | None] = [None] * len(limits)
    for first in map(float, looked_at):
        for at, point in enumerate(best_points(_knobs(chain, first), least, limits, most_first=MOST_OF_FOUR)):
            before = best[at]
            if point is not None and (before is None or point.aim < before.aim - SLACK):
                exact = point.exact and len(looked_at) == len(values)
                best[at] = replace(point, accept=(first, *point.accept), exact=exact)
    return best


def _knobs(chain: TierRecords, fixed: float | None) -> TwoKnobs:
    """The one or two free thresholds of a chain; ``fixed``: that of the first tier, where it is none of them."""
    n_fixed, last = int(fixed is not None), len(chain.tiers) - 1
    is_stopped = chain.confidence[:, 0] >= (NEVER if fixed is None else fixed)
    free = np.where(is_stopped[:, None], np.nan, chain.confidence[:, n_fixed:last])
    ends = np.where(is_stopped[:, None], 0, [n_fixed, min(n_fixed + 1, last), last])
    rows = np.arange(len(chain))[:, None]
    return TwoKnobs(
        accepted=free,
        loss=(chain.score[:, -1:] - chain.score)[rows, ends],
        cost_usd=np.cumsum(chain.cost_usd, axis=1)[rows, ends],
        weight=chain.weight,
    )


def best_points(
    knobs: TwoKnobs, least: Least, limits: Sequence[Limit], *, most_first: int | None = None
) -> list[Thresholds | None]:
    """For every limit the pair of thresholds with the least cost (or loss) whose loss (or cost)
    is within it; None: there is none.

    Every pair of distinct confidences is compared: O(n^2) in blocks, about three seconds of CPU for 10^4 records.
    ``most_first`` looks at no more than so many first thresholds, evenly spaced by rank, all second ones with each; the
    result is then exact only if there are no more.
    """
    total, squared = float(knobs.weight.sum()), float(knobs.weight @ knobs.weight)
    first, is_pair = knobs.accepted[:, 0], knobs.accepted.shape[1] == 2
    second = knobs.accepted[:, 1] if is_pair else np.full(len(first), np.nan)
    order, ends = _sorted(first)
    starts = np.concatenate(([0], ends + 1))  # records stopped at the first threshold: the first so many of ``order``
    exact = True
    if is_pair and most_first is not None and len(starts) > most_first:
        exact = False
        starts = starts[np.unique(np.linspace(0, len(starts) - 1, most_first).astype(int))]
    rank = np.full(len(first), len(order))
    rank[order] = np.arange(len(order))
    second_order, second_ends = _sorted(second)
    ranked = rank[second_order]
    share = knobs.weight[:, None] / total
    summed = [knobs.cost_usd * share, knobs.loss * share]
    if any(limit.z for limit in limits):
        summed += [knobs.loss * knobs.weight[:, None] ** 2, (knobs.loss * knobs.weight[:, None]) ** 2]
    kinds = []
    for values in summed:
        at_first = np.concatenate(([0.0], np.cumsum((values[:, 0] - values[:, 2])[order])))[starts] + values[:, 2].sum()
        kinds.append((at_first, (values[:, 1] - values[:, 2])[second_order]))
    best: list[tuple[float, float, int, int] | None] = [None] * len(limits)
    step = max(1, BLOCK // max(1, len(second_order)))
    for at in range(0, len(starts), step):
        going_on = ranked >= starts[at : at + step, None]
        cost, loss, *moments = (_grid(base[at : at + step], change, going_on, second_ends) for base, change in kinds)
        aim, constraint = (cost, loss) if least == "cost_usd" else (loss, cost)
        middle, error = constraint, np.zeros(1)
        if moments:
            sums = WeightedSums(total=total, first=loss * total, squared=squared, cross=moments[0], squares=moments[1])
            middle, error = sums.extended(BOUNDED_LOSSES, squared / total)
        for place, limit in enumerate(limits):
            point = _least(aim, middle + limit.z * error if limit.z else constraint, limit.most, at)
            before = best[place]
            if before is None or (point is not None and (point[0] + SLACK, point[1]) < before[:2]):
                best[place] = point
    thresholds = list[Thresholds | None]()
    for found in best:
        if found is None:
            thresholds.append(None)
            continue
        least_aim, _, row, column = found
        accept = [float(first[order[starts[row] - 1]]) if starts[row] else NEVER]
        if is_pair:
            accept.append(float(second[second_order[second_ends[column - 1]]]) if column else NEVER)
        thresholds.append(Thresholds(accept=tuple(accept), exact=exact, aim=least_aim))
    return thresholds


def _least(aim: Column, constraint: Column, limit: float, at: int) -> tuple[float, float, int, int] | None:
    """(aim, constraint, first threshold, second one) of the least aim; of equals the one with the least constraint."""
    allowed = np.where(constraint <= limit + SLACK, aim, NEVER)
    least = allowed.min()
    if least == NEVER:
        return None
    equal = np.flatnonzero(allowed.ravel() <= least + SLACK)
    place = int(equal[constraint.flat[equal].argmin()])
    row, column = divmod(place, aim.shape[1])
    return float(aim.flat[place]), float(constraint.flat[place]), at + row, column


def _grid(base: Column, change: Column, going_on: NDArray[np.bool_], ends: NDArray[np.intp]) -> Column:
    """Rows: first thresholds; columns: second thresholds, NEVER first."""
    grid = np.empty((len(base), len(ends) + 1))
    grid[:, 0] = base
    if len(ends):
        np.add(np.cumsum(np.where(going_on, change, 0.0), axis=1)[:, ends], base[:, None], out=grid[:, 1:])
    return grid


def _sorted(confidence: Column) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows with a confidence, the highest first, and where each run of equal confidences ends."""
    order = np.argsort(-confidence, kind="stable")[: int(np.count_nonzero(~np.isnan(confidence)))]
    values = confidence[order]
    return order, np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else order


def _summed(values: Column, ends: NDArray[np.intp]) -> Column:
    return np.concatenate(([0.0], np.cumsum(values)[ends])) if len(ends) else np.zeros(1)
