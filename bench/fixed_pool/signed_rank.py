"""Wilcoxon's signed-rank test of paired differences, with ties and zeros as scores have them."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, sqrt

from optimizer.core.evaluation.comparison import TIE


def signed_rank_p(differences: Sequence[float]) -> float:
    """One-sided p-value of "the differences are not above 0"; without a difference that is not zero 1.

    Equal sizes share their mean rank; zeros are ranked with the others and then count for neither side. Normal
    approximation with the variance that the ranks of the others have under random signs,
    without a correction for continuity.

    Source: Wilcoxon (1945), Biometrics Bulletin 1(6), 80-83; zeros as Pratt (1959), JASA 54(287), 655-667.
    """
    sizes = [0.0 if abs(d) < TIE else abs(d) for d in differences]
    if not any(sizes):
        return 1.0
    ranks = _mean_ranks(sizes)
    excess = sum(r if d > 0 else -r for r, s, d in zip(ranks, sizes, differences, strict=True) if s)  # W+ - W-
    spread = sqrt(sum(r * r for r, s in zip(ranks, sizes, strict=True) if s))
    return erfc(excess / spread / sqrt(2)) / 2


def _mean_ranks(sizes: Sequence[float]) -> list[float]:
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    ranks = [0.0] * len(sizes)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and sizes[order[end + 1]] - sizes[order[start]] < TIE:
            end += 1
        for i in order[start : end + 1]:
            ranks[i] = (start + end) / 2 + 1
        start = end + 1
    return ranks
