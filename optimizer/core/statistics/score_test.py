"""Tango's score test of paired 0/1 scores: is the candidate worse by the margin or more?

Its statistic also orders the exact test.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTest:
    """u: P(candidate right, champion wrong) under the null, by restricted maximum likelihood;
    z and its one-sided normal p.
    """

    u: float
    z: float
    p: float


def score_test(n: int, wins: int, losses: int, margin: float) -> ScoreTest:
    """Of "P(win) - P(loss) <= -margin": a small p says "not worse by the margin". The variance is never 0.

    Args:
        n: pairs, of which ``wins`` have only the candidate right and ``losses`` only the champion.
        margin: in (0, 1).
    Raises:
        ValueError: counts that do not fit, or a margin outside (0, 1).
    Source:
        Tango (1998), Statistics in Medicine 17, 891-908. 2 wins and 12 losses of 50 are a lower limit of Newcombe's
        (1998) examples.
    """
    require_counts(n, wins, losses, margin)
    z, u = statistic(n, wins, losses, margin)
    return ScoreTest(u=u, z=z, p=erfc(z / sqrt(2)) / 2)


def statistic(n: int, wins: int, losses: int, margin: float) -> tuple[float, float]:
    """(Z, u), unchecked: what the exact test asks n times."""
    a, c = 2.0 * n, -wins * margin * (1 - margin)
    b = margin * (2 * n + wins - losses) - (wins + losses)
    root = sqrt(max(0.0, b * b - 4 * a * c))
    u = -2 * c / (b + root) if b > 0 else (root - b) / (2 * a)
    return (wins - losses + n * margin) / sqrt(n * (2 * u + margin * (1 - margin))), u


def require_counts(n: int, wins: int, losses: int, margin: float) -> None:
    if n < 1 or wins < 0 or losses < 0 or wins + losses > n:
        raise ValueError(f"of n pairs at most n are wins or losses, got n {n}, {wins} wins, {losses} losses")
    if not 0 < margin < 1:
        raise ValueError(f"the margin lies between 0 and 1, got {margin}")
