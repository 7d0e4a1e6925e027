"""The score interval of a share (Wilson 1927)."""

from __future__ import annotations

from math import sqrt

from optimizer.core.base.values import Interval

Z95 = 1.959964


def wilson_interval(n_success: int, n_total: int, *, z: float = Z95) -> Interval:
    """Score interval of a share, 95 % by default; honest for small n, never outside [0, 1].

    8 of 10 gives (0.490, 0.943).

    Source: Wilson (1927), JASA 22(158), 209-212.
    """
    if not 0 <= n_success <= n_total or not n_total:
        raise ValueError(f"{n_success} of {n_total} is no share")
    share, zz = n_success / n_total, z * z / n_total
    middle, half = share + zz / 2, z * sqrt(share * (1 - share) / n_total + zz / (4 * n_total))
    return Interval(lower=max(0.0, (middle - half) / (1 + zz)), upper=min(1.0, (middle + half) / (1 + zz)))
