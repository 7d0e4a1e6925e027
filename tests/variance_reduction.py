"""Prediction-powered means: a judge on everything, people on a RANDOM part.

Not valid for feedback that users volunteer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredMean:
    """``mean`` with ``variance`` of its error; ``weight`` = how much the judge counts (not clipped)."""

    mean: float
    variance: float
    weight: float


def powered_mean(y: Sequence[float], judged: Sequence[float], judged_only: Sequence[float]) -> PoweredMean:
    """Mean of ``y`` with the help of a judge's scores of the same items (``judged``)
    and of many more (``judged_only``).

    Source: Angelopoulos, Duchi and Zrnic (2023), arXiv 2311.01453 (PPI++):
    mean(y) + weight (mean judged_only - mean judged).
    """
    n, many = len(y), len(judged_only)
    if len(judged) != n or n < 2 or many < 2:
        raise ValueError(
            f"a powered mean needs at least two items of each kind and a judge's score for each label, got {n} and"
            f" {many}"
        )
    spread = _variance([*judged, *judged_only])
    weight = _covariance(y, judged) / ((1 + n / many) * spread) if spread > 0 else 0.0
    residuals = [a - weight * f for a, f in zip(y, judged, strict=True)]
    mean = _mean(y) + weight * (_mean(judged_only) - _mean(judged))
    return PoweredMean(
        mean=mean, variance=_variance(residuals) / n + weight**2 * _variance(judged_only) / many, weight=weight
    )


def gain(correlation: float, *, n: int, n_unlabelled: int) -> float:
    """How many times as many labels would be needed without the judge."""
    return 1 / (1 - correlation**2 / (1 + n / n_unlabelled))


def log_deflator(
    *, n_c: int, a_c: float, n_b: int, a_b: float, weight: float, unlabelled_c: int, unlabelled_b: int
) -> float:
    """What a block's log e-value pays for using the judge's mean
    over finitely many unlabelled items (Hoeffding), <= 0."""
    return -((n_c * a_c * weight) ** 2 / unlabelled_c + (n_b * a_b * weight) ** 2 / unlabelled_b) / 8


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    return _covariance(values, values)


def _covariance(a: Sequence[float], b: Sequence[float]) -> float:
    mean_a, mean_b = _mean(a), _mean(b)
    return sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / (len(a) - 1)
