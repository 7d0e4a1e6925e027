"""How rollouts on a database ended, and the cells made of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, mean, quantiles, stdev

from common import Cell

from simulations.tally import REFERENCE

RPS = 1.0  # requests a second of each rollout


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One run: its outcome, None when it still went on; how long it took; what was used up until then."""

    outcome: str | None
    took: float  # seconds of real time, or hours of rollout time
    used: float  # requests of the candidate, or labels


def quantile_cell(case: str, values: list[float], q: float, other: float | None, unit: str) -> Cell:
    """Bounds: order statistics between which the true quantile lies in 95 of 100 experiments."""
    ordered, n, z = sorted(values), len(values), NormalDist().inv_cdf(0.975)
    half = z * sqrt(n * q * (1 - q))
    low, high = ordered[max(0, int(n * q - half))], ordered[min(n - 1, int(n * q + half) + 1)]
    ours = quantiles(ordered, n=100, method="inclusive")[round(100 * q) - 1]
    name = "median" if q == 0.5 else f"{100 * q:g} % point"
    ratio = ours / other if other else None
    return Cell(
        case=f"{case}, {name}",
        ours=ours,
        other=other,
        other_name=REFERENCE if other else "",
        ratio=ratio,
        low=low,
        high=high,
        unit=unit,
        n=n,
    )


def mean_cell(case: str, values: list[float], other: float | None, unit: str) -> Cell:
    ours, half = mean(values), 1.96 * stdev(values) / sqrt(len(values))
    ratio = ours / other if other else None
    return Cell(
        case=f"{case}, mean",
        ours=ours,
        other=other,
        other_name=REFERENCE if other else "",
        ratio=ratio,
        low=ours - half,
        high=ours + half,
        unit=unit,
        n=len(values),
    )


def share_cell(case: str, runs: list[Ended], outcome: str) -> Cell:
    k, n, z = sum(run.outcome == outcome for run in runs), len(runs), NormalDist().inv_cdf(0.975)
    middle, half = (k + z * z / 2) / (n + z * z), z * sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return Cell(
        case=f"{case}, ended as {outcome}",
        ours=k / n,
        low=middle - half,
        high=min(1.0, middle + half),
        unit="share of rollouts",
        n=n,
    )
