"""How fast a Variant answers, alone and beside the champion, from fresh answers only.

The examples are a fixed set, so a Variant's slowdown is the geometric mean over them of the ratio of the two latencies;
only the calls are random. So the test has two levels: rows may differ as they like, since they are all that is asked
about, and only what varies within a row is chance. A test that took every repeat for a row of its own would mistake
differences between rows for chance, or for evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, inf, log, sqrt
from statistics import fmean
from typing import NamedTuple, TypeVar

from optimizer.core.base.values import ExampleResult, Interval, grouped, p95, timed_ms

MIN_REPEATS = 2  # of a row: fewer show nothing of how it varies


@dataclass(frozen=True, slots=True)
class RowRatios:
    """Log ratios of one row, as sums that add up.

    Args:
        n: how many.
        mean: of the logs; 0.0 where there is none.
        squares: of their distances from ``mean``, summed.
    """

    n: int
    mean: float
    squares: float

    @classmethod
    def of(cls, logs: Sequence[float]) -> RowRatios:
        mean = fmean(logs) if logs else 0.0
        return cls(len(logs), mean, sum((log - mean) ** 2 for log in logs))

    def plus(self, other: RowRatios) -> RowRatios:
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        return RowRatios(
            n, self.mean + apart * other.n / n, self.squares + other.squares + apart**2 * self.n * other.n / n
        )


def mean_of_rows(rows: Sequence[RowRatios]) -> float:
    """The mean of the rows' means: each row counts alike, however often it was asked."""
    return fmean(row.mean for row in rows)


def interval_of_mean(rows: Sequence[RowRatios], *, alpha: float) -> Interval:
    """The interval for the mean over ``rows`` of their true log ratios, by Student's t.

    Args:
        rows: one at least, each with ``MIN_REPEATS`` at least.
        alpha: the chance in (0, 0.5) of lying below, and that of lying above.
    Returns:
        The interval. Its standard error comes from what varies within the rows, each about its own mean and each with a
        variance of its own; the degrees of freedom are Welch and Satterthwaite's of those variances.
    Source:
        Satterthwaite (1946), Biometrics Bulletin 2(6), 110-114.
    """
    mean = mean_of_rows(rows)
    parts = [row.squares / (row.n - 1) / row.n for row in rows]  # variances of the rows' means
    whole = sum(parts)
    if whole == 0:
        return Interval(lower=mean, upper=mean)
    freedom = whole**2 / sum(part**2 / (row.n - 1) for part, row in zip(parts, rows, strict=True))
    from scipy.special import stdtrit  # at its use: processes that time nothing need not load it

    reach = float(stdtrit(freedom, 1 - alpha)) * sqrt(whole) / len(rows)
    return Interval(lower=mean - reach, upper=mean + reach)


N_TIMED = 20  # fresh answers that the latency of one Variant needs
PAIRS = 120  # requests of each of two, over all examples: about as many at most, while they cannot tell
MOST_ROWS = PAIRS // MIN_REPEATS  # of more examples, so many are timed
LOOKS = (6, 2, 1)  # after a sixth, a half and all of the pairs it is checked whether they suffice
ALPHA = 0.025  # on either side, for all looks of all evaluations together
IN_A_ROW = 5  # the most answers of one Variant in a row, so that a model's prefix cache is as warm as in service
T = TypeVar("T")
Evidence = Mapping[str, RowRatios]  # by example, what one evaluation measured


class TimedPair(NamedTuple):
    """Latencies in ms of the Variant and of the champion, for the same request."""

    example: str
    mine: float
    theirs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Latencies in ms of fresh answers; ``why``: what kept them from being measured.

    ``earlier``: of each earlier evaluation that timed ``timed_as``, what it found; it counts with the pairs.
    ``examples``: ids of what was timed beside the champion, answered or not.
    """

    mine: Sequence[float] = ()
    pairs: Sequence[TimedPair] = ()
    why: str = ""
    examples: Sequence[str] = ()
    timed_as: str = ""  # names these and the models, so that no others are added
    earlier: Sequence[Evidence] = ()

    @property
    def p95_ms(self) -> float | None:
        """None without a fresh answer."""
        return p95(self.mine) if self.mine else None

    @property
    def own(self) -> Evidence:
        """What this evaluation measured, by example."""
        ratios = grouped(
            (example, log(mine / theirs)) for example, mine, theirs in self.pairs if mine > 0 and theirs > 0
        )
        return {example: RowRatios.of(example_ratios) for example, example_ratios in ratios.items()}

    @property
    def rows(self) -> Evidence:
        """The ratios of all evaluations together; examples that both answered at most once say nothing."""
        by_example: dict[str, RowRatios] = {}
        for evidence in (*self.earlier, self.own):
            for example, ratios in evidence.items():
                by_example[example] = by_example[example].plus(ratios) if example in by_example else ratios
        return {example: ratios for example, ratios in by_example.items() if ratios.n >= MIN_REPEATS}

    @property
    def slowdown(self) -> float | None:
        """The share by which the Variant is slower; None where no example was timed often enough for both."""
        rows = [*self.rows.values()]
        return exp(mean_of_rows(rows)) - 1 if rows else None

    @property
    def bounds(self) -> Interval | None:
        """The bounds of the slowdown; None as for ``slowdown``.

        Each evaluation, and each of its looks, has a part of ``ALPHA`` of its own, and the parts of ever more
        evaluations add up to it. So repeating an evaluation until the answer is welcome makes errors no more likely.
        """
        rows = [*self.rows.values()]
        if not rows:
            return None
        nth = len(self.earlier) + 1
        interval = interval_of_mean(rows, alpha=ALPHA / (nth * (nth + 1) * len(rounds(len(rows)))))
        return Interval(lower=_share(interval.lower), upper=_share(interval.upper))

    def is_slower(self, share: float) -> bool | None:
        """Whether the Variant is slower by more than ``share``; None: these calls cannot tell."""
        bounds = self.bounds
        if bounds is None:
            return None
        if bounds.lower > share + 1e-9:
            return True
        return False if bounds.upper <= share + 1e-9 else None


def _share(log_ratio: float) -> float:
    """Infinite where it is more than a number holds."""
    return exp(log_ratio) - 1 if log_ratio < 700 else inf


def timing_of(results: Sequence[ExampleResult]) -> Timing:
    """What an evaluation measured besides. It answers many at once, one Variant after the other, so no latencies
    compare.
    """
    return Timing(mine=[*timed_ms(results).values()])


def timed_rows(rows: Sequence[T]) -> list[T]:
    """All, or ``MOST_ROWS`` of them, evenly spaced."""
    n = min(len(rows), MOST_ROWS)
    return [rows[i * len(rows) // n] for i in range(n)]


def rounds(n_rows: int) -> list[int]:
    """How often each of ``n_rows`` is asked before each look; in all about ``PAIRS`` requests."""
    most = max(MIN_REPEATS, round(PAIRS / n_rows))
    looks = sorted({max(MIN_REPEATS, ceil(most / part)) for part in LOOKS})
    return [until - before for before, until in pairwise([0, *looks])]


def n_paired(n_rows: int) -> int:
    """Requests of each of two at most, the one that warms up among them."""
    n = min(n_rows, MOST_ROWS)
    return n * sum(rounds(n)) + 1


def turns(rows: Sequence[T], n: int = N_TIMED) -> list[list[T]]:
    """``n`` rows, the given ones again and again, in blocks of ``IN_A_ROW`` at most.

    Every second block together has as many rows as the others, or one more: which Variant begins a block makes no
    difference then.
    """
    n_blocks = 2 * ceil(n / (2 * IN_A_ROW))
    length, longer = divmod(n, n_blocks)
    edges = [i * length + min(i, longer) for i in range(n_blocks + 1)]
    blocks = [[rows[i % len(rows)] for i in range(start, end)] for start, end in pairwise(edges)]
    return [block for block in blocks if block]
