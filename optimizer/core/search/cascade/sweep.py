"""Every threshold of one knob, and every pair of thresholds of two, on the records: sorted once, then summed up.

Nothing is sampled.

A threshold matters only where it passes a recorded confidence, and records of equal confidence are taken together: no
threshold can split them. So the distinct confidences, and ``NEVER`` above them, are all there is to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.records import BOUNDED_LOSSES, Column, TierRecords, WeightedSums, clean_upper

NEVER = float("inf")
SLACK = 1e-12  # sums of the same values in another order may differ by this much
BLOCK = 4_000_000  # cells of a grid held at once: 32 MB a matrix


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


def curve(pair: TierRecords, *, level: float = 0.9, before_call: bool = False, exact: bool = False) -> LossCurve:
    """All thresholds of a pair: O(n log n), 10^6 records in under a second.

    Args:
        pair: complete records of two tiers.
        level: of the one-sided bound, in (0, 1).
        before_call: the confidence is known before the cheap tier is called (a router): what is not accepted never pays
            for it.
        exact: where no answer gained anything and losses are whole, the bound is that of Clopper and Pearson (1934).
    """
    order, ends = by_confidence(pair.confidence[:, 0])
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
    if exact and np.ptp(pair.weight) == 0:
        from scipy.special import betaincinv  # at its use: processes that search nothing need not load it

        n, n_lost = len(pair), _summed(loss, ends)
        is_whole = _summed(((loss == 0) | (loss == 1)).astype(float), ends) == _summed(np.ones(len(loss)), ends)
        upper = np.where(is_whole & (n_lost < n), betaincinv(n_lost + 1, np.maximum(n - n_lost, 1), level), upper)
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
    """What two thresholds decide per record: stop at the first, at the second, or go on.

    NaN confidence: it never stops there.

    ``loss`` and ``cost_usd``: n x 3, of stopping at the first, at the second, at neither.
    """

    first: Column
    second: Column
    loss: Column
    cost_usd: Column
    weight: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The loss plus ``z`` standard errors is at most ``most``. With z 0 the records are believed as they are."""

    most: float
    z: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdPair:
    """Two thresholds, and their mean cost."""

    first: float
    second: float
    aim: float


def best_points(
    knobs: TwoKnobs, limits: Sequence[Limit], *, most_first: int | None = None
) -> list[ThresholdPair | None]:
    """For every limit the pair of thresholds with the least cost whose loss is within it, or None.

    Every pair of distinct confidences is compared: O(n^2) in blocks, about three seconds of CPU for 10^4 records.
    ``most_first`` tries at most so many first thresholds, evenly spaced by rank, with all second ones. The result is
    then exact only if there are no more.
    """
    total, squared = float(knobs.weight.sum()), float(knobs.weight @ knobs.weight)
    order, ends = by_confidence(knobs.first)
    starts = np.concatenate(([0], ends + 1))  # records stopped at the first threshold: the first so many of ``order``
    if most_first is not None and len(starts) > most_first:
        starts = starts[np.unique(np.linspace(0, len(starts) - 1, most_first).astype(int))]
    rank = np.full(len(knobs.first), len(order))
    rank[order] = np.arange(len(order))
    second_order, second_ends = by_confidence(knobs.second)
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
        middle, error = loss, np.zeros(1)
        if moments:
            sums = WeightedSums(total=total, first=loss * total, squared=squared, cross=moments[0], squares=moments[1])
            middle, error = sums.extended(BOUNDED_LOSSES, squared / total)
        for place, limit in enumerate(limits):
            best[place] = _better(
                best[place], _least(cost, middle + limit.z * error if limit.z else loss, limit.most, at)
            )
    return [
        None if best_point is None else _point(knobs, best_point, starts, order, second_order, second_ends)
        for best_point in best
    ]


def _least(aim: Column, constraint: Column, limit: float, at: int) -> tuple[float, float, int, int] | None:
    allowed = np.where(constraint <= limit + SLACK, aim, NEVER)
    place = int(allowed.argmin())
    if allowed.flat[place] == NEVER:
        return None
    # Of equally cheap ones the one that loses least.
    equal = np.flatnonzero(allowed.ravel() <= allowed.flat[place] + SLACK)
    place = int(equal[constraint.flat[equal].argmin()])
    row, column = divmod(place, aim.shape[1])
    return float(aim.flat[place]), float(constraint.flat[place]), at + row, column


def _better(
    one: tuple[float, float, int, int] | None, other: tuple[float, float, int, int] | None
) -> tuple[float, float, int, int] | None:
    if one is None or other is None:
        return one or other
    return other if (other[0] + SLACK, other[1]) < (one[0], one[1]) else one


def _point(
    knobs: TwoKnobs,
    best: tuple[float, float, int, int],
    starts: NDArray[np.intp],
    order: NDArray[np.intp],
    second_order: NDArray[np.intp],
    second_ends: NDArray[np.intp],
) -> ThresholdPair:
    aim, _, row, column = best
    first = float(knobs.first[order[starts[row] - 1]]) if starts[row] else NEVER
    second = float(knobs.second[second_order[second_ends[column - 1]]]) if column else NEVER
    return ThresholdPair(first=first, second=second, aim=aim)


def _grid(base: Column, change: Column, going_on: NDArray[np.bool_], ends: NDArray[np.intp]) -> Column:
    """Rows: first thresholds; columns: second thresholds, NEVER first."""
    grid = np.empty((len(base), len(ends) + 1))
    grid[:, 0] = base
    if len(ends):
        np.add(np.cumsum(np.where(going_on, change, 0.0), axis=1)[:, ends], base[:, None], out=grid[:, 1:])
    return grid


def by_confidence(confidence: Column) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows with a confidence, the highest first, and where each run of equal confidences ends."""
    order = np.argsort(-confidence, kind="stable")[: int(np.count_nonzero(~np.isnan(confidence)))]
    values = confidence[order]
    return order, np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else order


def _summed(values: Column, ends: NDArray[np.intp]) -> Column:
    return np.concatenate(([0.0], np.cumsum(values)[ends])) if len(ends) else np.zeros(1)
