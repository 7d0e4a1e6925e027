"""Sparse histograms of amounts (milliseconds, dollars) with buckets 5 % wide: they add up,
and a quantile is right to 5 %.

A histogram is a plain JSON object {bucket: n}. Bucket "k" holds the values in (1.05^(k-1), 1.05^k]; zero has a bucket
of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, log, sqrt

WIDTH = 1.05  # of a bucket: upper edge over lower edge
ZERO = "zero"
Histogram = dict[str, int]


def bucket_of(value: float) -> str:
    """The bucket of a value >= 0. A value is above ``edge(b)`` exactly when its bucket comes after ``b``."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"a histogram counts finite amounts from 0, got {value}")
    if value == 0:
        return ZERO
    k = ceil(log(value) / log(WIDTH))  # right up to rounding, which the edges themselves settle
    while WIDTH ** (k - 1) >= value:
        k -= 1
    while WIDTH**k < value:
        k += 1
    return str(k)


def edge(bucket: str) -> float:
    """The largest value of a bucket."""
    return 0.0 if bucket == ZERO else WIDTH ** int(bucket)


def add(histogram: Histogram, value: float) -> None:
    """Counts one value, in place."""
    bucket = bucket_of(value)
    histogram[bucket] = histogram.get(bucket, 0) + 1


def merge(histograms: Iterable[Mapping[str, int]]) -> Histogram:
    """The histogram of all values together."""
    merged: Histogram = {}
    for histogram in histograms:
        for bucket, n in histogram.items():
            merged[bucket] = merged.get(bucket, 0) + n
    return merged


def quantile(histogram: Mapping[str, int], q: float) -> float | None:
    """An edge that at least a share ``q`` in (0, 1] of the values does not exceed,
    the smallest such; None without values.
    """
    if not 0 < q <= 1:
        raise ValueError(f"a quantile lies in (0, 1], got {q}")
    n, below = sum(histogram.values()), 0
    for bucket in _ascending(histogram):
        below += histogram[bucket]
        if below >= q * n:
            return edge(bucket)
    return None


def share_above(histogram: Mapping[str, int], limit: float) -> float | None:
    """The exact share of values above ``limit``, which must be an edge; None without values."""
    if edge(bucket_of(limit)) != limit:
        raise ValueError(f"{limit} lies inside a bucket: only at an edge is the share above it known")
    n = sum(histogram.values())
    return sum(k for bucket, k in histogram.items() if edge(bucket) > limit) / n if n else None


def capped_moments(histogram: Mapping[str, int], cap: float) -> tuple[float, float] | None:
    """(mean, variance) of min(value / cap, 1),
    each value taken for the geometric middle of its bucket; None without values.
    """
    n = sum(histogram.values())
    if not n:
        return None
    values = {
        bucket: min(edge(bucket) / sqrt(WIDTH) / cap, 1.0) if edge(bucket) <= cap else 1.0 for bucket in histogram
    }
    mean = sum(k * values[bucket] for bucket, k in histogram.items()) / n
    return mean, sum(k * (values[bucket] - mean) ** 2 for bucket, k in histogram.items()) / n


def _ascending(histogram: Mapping[str, int]) -> list[str]:
    return sorted(histogram, key=edge)
