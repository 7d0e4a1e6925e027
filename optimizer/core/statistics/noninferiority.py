"""May the candidate replace the champion, where "quality is lower by the margin or more" must be ruled out at one look?

``not_lower`` is what gates ask: it counts groups once, chooses the test by the data, and gives one p that is small
where the loss is ruled out. The null hypothesis is always mean(candidate) - mean(champion) <= -margin. Where one looks
again and again, evidence adds up in e-values instead (``comparison.paired_log_e``), which at one look give away up to
.59 of the power.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import atan, ceil, exp, log, log1p, pi, sin
from typing import Literal

from optimizer.core.statistics.exact_pairs import exact_p, score_test

TIE = 1e-12  # differences nearer to 0 than this are rounding
MOST_EXACT = 5000  # rows: a fifth of a second; above it Tango's statistic is near enough its normal law at small levels
LARGE_LEVEL = 0.05  # above it Tango's size is .22 for .20 even at 1,000 rows, so that the exact test stays

Test = Literal["exact", "tango", "gaffke", "bootstrap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLower:
    """What one look says of "quality is lower by the margin or more".

    p: one-sided, in [0, 1]; small means that the loss is ruled out.
    test: exact and tango for 0/1 scores, gaffke for all others; bootstrap over groups for a wished share of time.
    n: independent rows, which are groups where rows share one.
    fewest: rows that can pass at the level without a single win; with fewer no result can.
    """

    p: float
    test: Test
    n: int
    fewest: int


def not_lower(
    champion: Sequence[float],
    candidate: Sequence[float],
    *,
    margin: float,
    level: float,
    groups: Sequence[Hashable] | None = None,
    lowest: float = -1.0,
) -> NotLower:
    """The one-sided test of "the candidate's mean is lower by ``margin`` or more",
    chosen by the data before its outcome is seen.

    0/1 scores: the exact unconditional test, above 5,000 rows at a level of at most .05 Tango's.
    Other scores: Gaffke's.

    Args:
        champion, candidate: scores in [0, 1] of the same rows, at least one.
        margin: in (0, 1), fixed before the look.
        level: at which the p is read, in (0, 1); only the choice of the test and ``fewest`` depend on it.
        groups: of each row; rows of one group (a user, a document, copies) are no independent evidence and count once,
            with their mean.
        lowest: the lowest difference that a row can have, in [-1, 0]; -floor where the champion's score is a floor that
            is known beforehand. Only Gaffke's test depends on it.
    Raises:
        ValueError: lists of different length, empty ones, or a margin or level outside (0, 1).
    """
    if not 0 < margin < 1 or not 0 < level < 1:
        raise ValueError(f"margin and level lie between 0 and 1, got {margin} and {level}")
    pairs = _independent(champion, candidate, groups)
    n, fewest = len(pairs), fewest_rows(margin, level)
    if any(score not in (0.0, 1.0) for pair in pairs for score in pair):
        p = gaffke_p([c - b for b, c in pairs], margin=margin, lowest=lowest)
        return NotLower(p=p, test="gaffke", n=n, fewest=fewest)
    wins, losses = sum(c > b for b, c in pairs), sum(c < b for b, c in pairs)
    if n > MOST_EXACT and level <= LARGE_LEVEL:
        return NotLower(p=score_test(n, wins, losses, margin).p, test="tango", n=n, fewest=fewest)
    return NotLower(p=exact_p(n, wins, losses, margin), test="exact", n=n, fewest=fewest)


def largest_loss(
    champion: Sequence[float], candidate: Sequence[float], *, level: float, groups: Sequence[Hashable] | None = None
) -> float:
    """The smallest margin, to .001, that ``not_lower`` rules out at ``level``: "the loss is less than this",
    in agreement with the test.

    1.0 where no margin can be ruled out. Arguments and errors as for ``not_lower``; ten tests, so less than a tenth of
    a second for hundreds of rows.
    """
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        passes = not_lower(champion, candidate, margin=middle / 1000, level=level, groups=groups).p <= level + TIE
        low, high = (low, middle) if passes else (middle, high)
    return high / 1000


def fewest_rows(margin: float, level: float) -> int:
    """Rows that can pass at ``level`` without a single win: any valid test needs (1 - margin)^n <= level.

    For margin .05: 59 at .05, 45 at .10, 32 at .20.
    """
    return ceil(log(level) / log1p(-margin) - TIE)


def gaffke_p(differences: Sequence[float], *, margin: float, lowest: float = -1.0) -> float:
    """One-sided p of "the mean difference is at most -margin", for differences in [lowest, 1]:
    the Bayesian bootstrap with one pseudo-loss.

    P(sum_j E_j c_j <= 0) for c = (D_1 + h, ..., D_n + h, h + lowest) and independent standard exponential E_j, by
    inverting the characteristic function along t = exp(x - exp(-x)) in steps of 1/16. The order of the rows does not
    matter, and equal scores pass where rows suffice.

    Source: Gaffke (2005), "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
    variable"; Learned-Miller and Thomas (2019), arXiv 1905.06208. Equal to Clopper and Pearson's bound for differences
    0 and -1.
    """
    if not differences:
        raise ValueError("a test needs at least one difference")
    weights = Counter(d + margin for d in differences)
    weights[margin + lowest] += 1
    terms = [(c, times) for c, times in weights.items() if abs(c) > TIE]
    x, area = -4.2, 0.0
    while True:
        t = exp(x - exp(-x))
        angle = sum(times * atan(t * c) for c, times in terms)
        size = 0.5 * sum(times * log1p((t * c) ** 2) for c, times in terms)
        if size > 40:
            break
        area += sin(angle) * exp(-size) * (1 + exp(-x))
        x += 0.0625
    return min(1.0, max(0.0, 0.5 - 0.0625 * area / pi))


def _independent(
    champion: Sequence[float], candidate: Sequence[float], groups: Sequence[Hashable] | None
) -> list[tuple[float, float]]:
    """Pairs of means, one per group."""
    if len(champion) != len(candidate) or not champion or (groups is not None and len(groups) != len(champion)):
        raise ValueError(
            f"a paired comparison needs the same rows for both, got {len(champion)} and {len(candidate)} scores"
            + (f" and {len(groups)} groups" if groups is not None else "")
        )
    if groups is None:
        return list(zip(champion, candidate, strict=True))
    rows: dict[Hashable, list[tuple[float, float]]] = {}
    for group, b, c in zip(groups, champion, candidate, strict=True):
        rows.setdefault(group, []).append((b, c))
    return [(sum(b for b, _ in own) / len(own), sum(c for _, c in own) / len(own)) for own in rows.values()]
