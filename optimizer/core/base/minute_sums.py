"""What was received in one minute, summed up: the one source for everything that looks further back than a minute.

Amounts (milliseconds, dollars) are in sparse histograms with buckets 5 % wide: they add up, and a quantile is right to
5 %. A histogram is a plain JSON object {bucket: n}. Bucket "k" holds the values in (1.05^(k-1), 1.05^k]; zero has a
bucket of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from math import ceil, log, sqrt
from typing import Any

WIDTH = 1.05  # of a bucket: upper edge over lower edge
ZERO = "zero"
Histogram = dict[str, int]
LOW_SCORE = 0.80
ASKED_AGAIN = ("gate", "retry", "refine")  # purposes of a call
HOUR, DAY = 60, 1440  # minutes of what longer sums are of
ALL_FAMILIES = ""  # the family of sums of all of them
SCORE_DIGITS = 4  # to which scores are told apart
Stretch = tuple[datetime, datetime]  # [from, until)


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


@cache
def edge(bucket: str) -> float:
    """The largest value of a bucket."""
    return 0.0 if bucket == ZERO else WIDTH ** int(bucket)


def add(histogram: Histogram, value: float) -> None:
    """Counts one value, in place."""
    _count(histogram, bucket_of(value))


def merge(histograms: Iterable[Mapping[str, int]]) -> Histogram:
    """The histogram of all values together."""
    merged: Histogram = {}
    for histogram in histograms:
        _add(merged, histogram, 1)
    return merged


def quantile(histogram: Mapping[str, int], q: float) -> float | None:
    """The smallest edge that at least a share ``q`` in (0, 1] of the values does not exceed; None without values."""
    n, below = sum(histogram.values()), 0
    for bucket in sorted(histogram, key=edge):
        below += histogram[bucket]
        if below >= q * n:
            return edge(bucket)
    return None


def share_above(histogram: Mapping[str, int], limit: float) -> float | None:
    """The exact share of values above ``limit``, which is an edge; None without values."""
    n = sum(histogram.values())
    return sum(k for bucket, k in histogram.items() if edge(bucket) > limit) / n if n else None


def capped_moments(histogram: Mapping[str, int], cap: float) -> tuple[float, float] | None:
    """(mean, variance) of min(value / cap, 1); None without values.

    Each value counts as the geometric middle of its bucket.
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

    ``source`` is "" for interactions, whose errors, latency, cost and tokens are counted (``n_tokens`` name theirs),
    and of those that were streamed (``n_streamed``: they name a time to the first token) that time; for feedback it
    says who judged, and success and score are counted; ``n_low_scores`` are below .80. ``n_with_parts`` requests name
    their calls, as a policy's do: of these ``n_retried`` asked a model again for a better answer, and in
    ``n_tools_ignored`` a check found that an answer did not use the results of its tools. ``issues``: how often a check
    found something, or a judge words to itself, as "check NAME" and "judge NAME". ``scores``: how often each score
    came, by ``judge_mark`` of the judge that gave it, or "". ``variant`` and ``model`` are "" where the event names
    none; feedback has the model of its interaction.

    In sums of an hour or a day ``minute`` is its start.
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
    n_streamed: int = 0
    n_streamed_errors: int = 0
    first_token_sum_ms: float = 0.0
    first_token_histogram: Histogram = field(default_factory=dict)
    n_cost: int = 0
    cost_sum_usd: float = 0.0
    cost_histogram: Histogram = field(default_factory=dict)
    n_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    n_success: int = 0
    success_sum: int = 0
    n_score: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0
    n_low_scores: int = 0
    n_with_parts: int = 0
    n_retried: int = 0
    n_tools_ignored: int = 0
    issues: Histogram = field(default_factory=dict)
    scores: dict[str, Histogram] = field(default_factory=dict)

    def add_interaction(
        self,
        *,
        failed: bool,
        latency_ms: float | None,
        cost_usd: float | None,
        tokens: tuple[int | None, int | None] = (None, None),
        parts: Sequence[Mapping[str, Any]] | None = None,
        first_token_ms: float | None = None,
    ) -> None:
        """``tokens``: in and out."""
        self.n += 1
        self.n_errors += failed
        if first_token_ms is not None:
            self.n_streamed += 1
            self.n_streamed_errors += failed
            self.first_token_sum_ms += first_token_ms
            add(self.first_token_histogram, first_token_ms)
        if parts:
            self.n_with_parts += 1
            self.n_retried += any(part.get("purpose") in ASKED_AGAIN for part in parts)
            self.n_tools_ignored += any("tool_results_ignored" in (part.get("issues") or ()) for part in parts)
            for issue in (issue for part in parts for issue in part.get("issues") or ()):
                _count(self.issues, f"check {issue}")
        if latency_ms is not None:
            self.n_latency += 1
            self.latency_sum_ms += latency_ms
            add(self.latency_histogram, latency_ms)
        if cost_usd is not None:
            self.n_cost += 1
            self.cost_sum_usd += cost_usd
            add(self.cost_histogram, cost_usd)
        if tokens != (None, None):
            self.n_tokens += 1
            self.input_tokens += tokens[0] or 0
            self.output_tokens += tokens[1] or 0

    def add_outcome(
        self, *, success: bool | None, score: float | None, judge: str | None = None, signs: Iterable[str] = ()
    ) -> None:
        """``signs``: of words to its judge in the answer."""
        self.n += 1
        for sign in signs:
            _count(self.issues, f"judge {sign}")
        if success is not None:
            self.n_success += 1
            self.success_sum += success
        if score is not None:
            self.n_score += 1
            self.score_sum += score
            self.score_squares += score * score
            self.n_low_scores += score < LOW_SCORE
            _count(self.scores.setdefault(judge_mark(judge), {}), f"{round(score, SCORE_DIGITS):g}")

    def add(self, other: MinuteSums, times: int = 1) -> None:
        """Adds the sums of another minute or kind; ``times`` -1 takes them away."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        for histogram in ("latency_histogram", "first_token_histogram", "cost_histogram", "issues"):
            _add(getattr(self, histogram), getattr(other, histogram), times)
        for judge, counts in other.scores.items():
            _add(self.scores.setdefault(judge, {}), counts, times)


_NUMBERS = tuple(name for name, kind in MinuteSums.__annotations__.items() if kind in ("int", "float"))


def _count(counts: Histogram, key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def _add(histogram: Histogram, other: Mapping[str, int], times: int) -> None:
    for bucket, n in other.items():
        histogram[bucket] = histogram.get(bucket, 0) + times * n
        if not histogram[bucket]:
            del histogram[bucket]


def judge_mark(judge: str | None) -> str:
    """Under which a judge's scores are summed up; "" for scores of no judge."""
    return "" if judge is None else blake2b(judge.encode(), digest_size=8).hexdigest()


def longer_sums(rows: Iterable[MinuteSums], replaced: Iterable[MinuteSums], minutes: int) -> list[MinuteSums]:
    """What rows add to the sums of the hours or days that they lie in, by family and of all families together, where
    no variant is told apart. ``replaced``: rows that were added before, in whose place some of them come.
    """
    sums: dict[tuple[str, datetime, str, str, str], MinuteSums] = {}
    for times, some in ((1, rows), (-1, replaced)):
        for row in some:
            start = floor(row.minute, minutes)
            for family, variant in {(row.family, row.variant), (ALL_FAMILIES, "")}:
                key = (family, start, variant, row.model, row.source)
                if key not in sums:
                    sums[key] = MinuteSums(
                        family=family, minute=start, variant=variant, model=row.model, source=row.source
                    )
                sums[key].add(row, times)
    return [sums[key] for key in sorted(sums)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """A time in parts: sums, by their length in minutes, and the rest, which is read minute by minute or event by
    event.
    """

    sums: Sequence[tuple[int, Stretch]]
    rest: Sequence[Stretch]


def stat_cover(since: datetime, until: datetime, summed: Stretch | None, lengths: Collection[int]) -> Cover:
    """``summed``: hours and days that begin in it are summed up, the last of them as far as its end."""
    if since >= until:
        return Cover(sums=(), rest=())
    is_open = summed is not None and until >= summed[1]
    longest = [DAY, HOUR] if DAY in lengths else [HOUR]
    begin, end = (until, until) if summed is None else (max(since, summed[0]), min(until, summed[1]))
    parts = tuple(whole_stretches(begin, end, longest, is_open=is_open))
    if not parts:
        return Cover(sums=(), rest=((since, until),))
    edges = [(since, parts[0][1][0]), *([] if is_open else [(parts[-1][1][1], until)])]
    return Cover(sums=parts, rest=tuple(edge for edge in edges if edge[0] < edge[1]))


def whole_stretches(
    since: datetime, until: datetime, lengths: Sequence[int], *, is_open: bool = False
) -> Iterator[tuple[int, Stretch]]:
    """The time in whole stretches of these lengths, the longest first, as far as they fill it; in order.

    Args:
        is_open: nothing is summed up beyond the end yet, so that a stretch that is under way belongs to it whole.
    """
    if since >= until or not lengths:
        return
    length, *shorter = lengths
    first, last = ceiling(since, length), (ceiling if is_open else floor)(until, length)
    if first >= last:
        yield from whole_stretches(since, until, shorter, is_open=is_open)
        return
    yield from whole_stretches(since, first, shorter)
    yield length, (first, last)
    yield from whole_stretches(last, until, shorter, is_open=is_open)


def floor(at: datetime, minutes: int) -> datetime:
    """The start of its minute, hour, quarter of a day or day in UTC."""
    return at - (at - _EPOCH) % timedelta(minutes=minutes)


def seconds_left(now: datetime, minutes: int) -> int:
    """Whole seconds until the next minute, hour or day in UTC begins, at least one."""
    return max(1, ceil((floor(now, minutes) + timedelta(minutes=minutes) - now).total_seconds()))


def ceiling(at: datetime, minutes: int) -> datetime:
    return -(-(at - _EPOCH) // (length := timedelta(minutes=minutes))) * length + _EPOCH


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
