"""The winner's curse: the best of several noisy lifts is too high.

Two corrections for when there is no sealed holdout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """``lift`` = the best lift drawn towards the mean of all;
    ``between`` = variance of the true lifts, as far as it shows.
    """

    grand_mean: float
    between: float
    lift: float


def shrink_best(lifts: Sequence[float], *, variance: float) -> Shrunk:
    """Empirical Bayes: the more the spread of the lifts is explained by noise,
    the nearer the best one moves to their mean.

    Args:
        lifts: at least two, of all variants compared (not only the good ones).
        variance: of one lift's error, >= 0.
    Source:
        Efron and Morris (1975), JASA 70(350), 311-319.
    """
    if len(lifts) < 2:
        raise ValueError(
            "shrinkage learns the spread from several lifts; give those of all variants that were compared"
        )
    mean = sum(lifts) / len(lifts)
    spread = sum((x - mean) ** 2 for x in lifts) / (len(lifts) - 1)
    between = max(0.0, spread - variance)
    kept = between / (between + variance) if between > 0 else 0.0
    return Shrunk(grand_mean=mean, between=between, lift=mean + kept * (max(lifts) - mean))
