"""What was received in one minute, summed up: the one source of everything that looks further back than a minute.

Amounts (milliseconds, dollars) stand in sparse histograms with buckets 5 % wide: they add up, and a quantile is right
to 5 %. A histogram is a plain JSON object {bucket: n}. Bucket "k" holds the values in (1.05^(k-1), 1.05^k]; zero has a
bucket of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
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
    for bucket in sorted(histogram, key=edge):
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


@dataclass(slots=True, kw_only=True)
class MinuteSums:
    """Sums of the events of one family, variant, model and source that were received in one minute.

    ``source`` is "" for interactions, whose errors, latency and cost are counted; for feedback it says who judged, and
    success and score are counted. ``variant`` and ``model`` are "" where the event names none; feedback has the model
    of its interaction.
    """

    family: str
    minute: datetime
    variant: str = ""
    model: str = ""
    source: str = ""
    n: int = 0
    n_errors: int = 0
    n_latency: int = 0
    latency_sum_ms: float = 0.0
    latency_histogram: Histogram = field(default_factory=dict)
    n_cost: int = 0
    cost_sum_usd: float = 0.0
    cost_histogram: Histogram = field(default_factory=dict)
    n_success: int = 0
    success_sum: int = 0
    n_score: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0

    def add_interaction(self, *, failed: bool, latency_ms: float | None, cost_usd: float | None) -> None:
        self.n += 1
        self.n_errors += failed
        if latency_ms is not None:
            self.n_latency += 1
            self.latency_sum_ms += latency_ms
            add(self.latency_histogram, latency_ms)
        if cost_usd is not None:
            self.n_cost += 1
            self.cost_sum_usd += cost_usd
            add(self.cost_histogram, cost_usd)

    def add_outcome(self, *, success: bool | None, score: float | None) -> None:
        self.n += 1
        if success is not None:
            self.n_success += 1
            self.success_sum += success
        if score is not None:
            self.n_score += 1
            self.score_sum += score
            self.score_squares += score * score


def minute_of(at: datetime) -> datetime:
    """The start of its minute."""
    return at.replace(second=0, microsecond=0)
