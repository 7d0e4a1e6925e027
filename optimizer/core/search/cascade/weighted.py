"""Means of weighted records with honest intervals. One formula for all: the weighted mean and its linearised variance.

    mean = sum(w x) / sum(w),   variance = sum(w^2 (x - mean)^2) / sum(w)^2

Values that cannot leave a range get a few observations more at either end of it, with the weight that the rows
concerned have on average. Without them "no loss seen" would be reported as "no loss, for certain". Two-sided intervals
add two at either end of a share or a score (Agresti, Coull 1998, The American Statistician 52(2), 119-126) and one at
either end of a paired difference (Bonett, Price 2012, JEBS 37(4), 479-488). The one-sided bound of a loss adds half a
one, the prior of Jeffreys (1946), and is exact while no difference at all has been seen.

The weighted mean is Hajek's (1971).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.figures import Figure
from optimizer.core.search.cascade.records import Column

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Values from ``low`` to ``high``; ``ends``: observations added at either end for an interval."""

    low: float
    high: float
    ends: float


SHARES = Range(low=0.0, high=1.0, ends=2.0)
LOSSES = Range(low=-1.0, high=1.0, ends=1.0)
BOUNDED_LOSSES = Range(low=-1.0, high=1.0, ends=0.5)


def figure(values: Column, weight: Column, bounds: Range | None = None) -> Figure:
    """``bounds``: the values' range, where they have one; the interval then stays inside it."""
    total, squared = float(weight.sum()), float(weight @ weight)
    mean = float(weight @ values) / total
    if bounds is None:
        half = Z95 * float(np.sqrt(weight**2 @ (values - mean) ** 2)) / total
        return Figure(mean=mean, low=mean - half, high=mean + half)
    middle, error = WeightedSums.of(values, weight).extended(bounds, squared / total)
    return Figure(
        mean=mean,
        low=max(bounds.low, min(mean, float(middle - Z95 * error))),
        high=min(bounds.high, max(mean, float(middle + Z95 * error))),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedSums:
    """Over records, or over many selections of them at once: sums of w, w x, w^2, w^2 x and w^2 x^2."""

    total: float
    first: float | Column
    squared: float
    cross: float | Column
    squares: float | Column

    @classmethod
    def of(cls, values: Column, weight: Column) -> WeightedSums:
        return cls(
            total=float(weight.sum()),
            first=float(weight @ values),
            squared=float(weight @ weight),
            cross=float(weight**2 @ values),
            squares=float(weight**2 @ values**2),
        )

    def extended(self, bounds: Range, each: float | Column) -> tuple[Column, Column]:
        """Mean and standard error with the observations at either end added, of weight ``each``."""
        first, added = np.asarray(self.first), bounds.ends * np.asarray(each)
        padded = self.total + 2 * added
        mean = (first + added * (bounds.low + bounds.high)) / padded
        spread = np.asarray(self.squares) - 2 * mean * self.cross + mean**2 * self.squared
        spread = spread + added * each * ((bounds.low - mean) ** 2 + (bounds.high - mean) ** 2)
        return mean, np.sqrt(np.maximum(spread, 0.0)) / padded


def loss_bound(loss: Column, weight: Column, z: float, each: float | None = None) -> float:
    """The mean loss and z standard errors; with z 0 the mean as it is.

    ``each``: weight of what may be lost, the records' mean by default.
    """
    if not z:
        return float(weight @ loss / weight.sum())
    usual = float(weight @ weight) / float(weight.sum())
    middle, error = WeightedSums.of(loss, weight).extended(BOUNDED_LOSSES, usual if each is None else each)
    return float(middle + z * error)


def loss_upper(loss: Column, weight: Column, is_kept: NDArray[np.bool_], level: float) -> float:
    """One-sided upper bound of the mean loss.

    ``is_kept``: records answered by another tier than the strongest; without any it is exactly 0.
    """
    kept_weight, total = weight[is_kept], float(weight.sum())
    if not kept_weight.any():
        return 0.0
    each = float(kept_weight @ kept_weight / kept_weight.sum())
    if not (loss * weight).any():
        return float(clean_upper(total / each, level))
    return loss_bound(loss, weight, NormalDist().inv_cdf(level), each)


def clean_upper(n: float | Column, level: float) -> Column:
    """Exact bound of a loss when ``n`` records show no difference at all:
    the share that would show none with a chance of 1 - level.

    Source: Clopper, Pearson (1934), Biometrika 26(4), 404-413,
    for none of n. At the 90 % level 230 records prove one point.
    """
    return np.asarray(1 - (1 - level) ** (1 / np.asarray(n)))


def mean_upper(values: Column, weight: Column, level: float) -> float:
    """One-sided upper bound of a mean without bounds, such as a cost."""
    total = float(weight.sum())
    mean = float(weight @ values) / total
    return mean + NormalDist().inv_cdf(level) * float(np.sqrt(weight**2 @ (values - mean) ** 2)) / total
