"""Means of weighted records with honest intervals. One formula for all: the weighted mean and its linearised variance.

    mean = sum(w x) / sum(w),   variance = sum(w^2 (x - mean)^2) / sum(w)^2

Values that cannot leave a range (shares, scores, losses) get half an observation more at either end of it, with the weight that the rows
concerned have on average. Without it, "no loss seen" would be reported as "no loss, for certain".

Source: the mean is Hajek's (1971); half an observation for each outcome is the prior of Jeffreys (1946) for one share, and for the
difference of two paired shares the adjusted Wald interval of Bonett and Price (2012), JEBS 37(4), 479-488, with a half in place of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from optimizer.core.policy.records import Column

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A weighted mean as observed, with its 95 % interval."""

    mean: float
    low: float
    high: float


def figure(values: Column, weight: Column, bounds: tuple[float, float] | None = None) -> Figure:
    """``bounds``: the values' range, where they have one; the interval then stays inside it."""
    total = float(weight.sum())
    mean = float(weight @ values) / total
    if bounds is None:
        half = Z95 * float(np.sqrt(weight**2 @ (values - mean) ** 2)) / total
        return Figure(mean=mean, low=mean - half, high=mean + half)
    low, high = bounds
    middle, error = half_counted(
        total=total, first=float(weight @ values), squares=float(weight**2 @ values**2), cross=float(weight**2 @ values),
        weights=float(weight @ weight), extra=float(weight @ weight) / total, low=low, high=high,
    )  # fmt: skip
    return Figure(mean=mean, low=max(low, min(mean, middle - Z95 * error)), high=min(high, max(mean, middle + Z95 * error)))


def half_counted(
    *, total: float | Column, first: float | Column, squares: float | Column, cross: float | Column, weights: float | Column, extra: float | Column,
    low: float = -1.0, high: float = 1.0,
) -> tuple[float, float]:  # fmt: skip
    """Mean and standard error with half an observation of weight ``extra`` at ``low`` and at ``high``.

    Args:
        total, first: sums of w and w x.
        weights, cross, squares: sums of w^2, w^2 x and w^2 x^2.
    """
    padded = total + extra
    mean = (first + extra * (low + high) / 2) / padded
    spread = squares - 2 * mean * cross + mean**2 * weights + extra**2 * ((low - mean) ** 2 + (high - mean) ** 2) / 2
    return mean, np.sqrt(np.maximum(spread, 0.0)) / padded  # type: ignore[return-value]


def loss_upper(loss: Column, weight: Column, kept: NDArray[np.bool_], level: float) -> float:
    """One-sided upper bound of the mean loss. ``kept``: records answered by another tier than the strongest; without any it is exactly 0."""
    taken = weight[kept]
    if not taken.any():
        return 0.0
    middle, error = half_counted(
        total=float(weight.sum()), first=float(weight @ loss), squares=float(weight**2 @ loss**2), cross=float(weight**2 @ loss),
        weights=float(weight @ weight), extra=float(taken @ taken / taken.sum()),
    )  # fmt: skip
    return float(middle + NormalDist().inv_cdf(level) * error)


def mean_upper(values: Column, weight: Column, level: float) -> float:
    """One-sided upper bound of a mean without bounds, such as a cost."""
    total = float(weight.sum())
    mean = float(weight @ values) / total
    return mean + NormalDist().inv_cdf(level) * float(np.sqrt(weight**2 @ (values - mean) ** 2)) / total
