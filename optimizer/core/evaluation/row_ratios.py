"""The geometric mean, over a fixed set of rows, of a ratio that was measured several times for each.

A test of two levels: rows may differ as they like, since they are the whole of what is asked about, and only what
varies within a row is chance. A test that took every repeat for a row of its own would take what a row is by nature
for chance, or for evidence on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

from optimizer.core.base.values import Interval

MIN_REPEATS = 2  # of a row: fewer show nothing of how it varies


@dataclass(frozen=True, slots=True)
class RowRatios:
    """Log ratios of one row, as sums that add.

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
    """Where the mean over ``rows`` of their true log ratios lies, by Student's t.

    Args:
        rows: one at least, each with ``MIN_REPEATS`` at least.
        alpha: the chance in (0, 0.5) of lying below, and that of lying above.
    Returns:
        The interval. Its standard error comes from what varies within the rows, each about its own mean and each with a
        variance of its own; the degrees of freedom are Welch and Satterthwaite's of those variances.
    Raises:
        ValueError: no row, or one with fewer repeats.
    Source:
        Satterthwaite (1946), Biometrics Bulletin 2(6), 110-114.
    """
    if not rows or min(row.n for row in rows) < MIN_REPEATS:
        raise ValueError(f"an interval takes one row at least, and {MIN_REPEATS} repeats of each")
    mean = mean_of_rows(rows)
    parts = [row.squares / (row.n - 1) / row.n for row in rows]  # variances of the rows' means
    whole = sum(parts)
    if whole == 0:
        return Interval(lower=mean, upper=mean)
    freedom = whole**2 / sum(part**2 / (row.n - 1) for part, row in zip(parts, rows, strict=True))
    from scipy.special import stdtrit  # at its use: processes that time nothing need not load it

    reach = float(stdtrit(freedom, 1 - alpha)) * sqrt(whole) / len(rows)
    return Interval(lower=mean - reach, upper=mean + reach)
