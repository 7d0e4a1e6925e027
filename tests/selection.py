"""The winner's curse: the best of several noisy lifts is too high.

Two corrections for when there is no sealed holdout.
"""

from __future__ import annotations

import random
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


def max_bias(scores: Sequence[Sequence[float]], *, seed: int, n_draws: int = 2_000) -> float:
    """By how much the best mean is too high, by the bootstrap:
    mean over draws of (winner's mean in the draw - its mean here).

    Args:
        scores: one row per variant, the same examples in every row.
    Returns:
        At least about 0, in units of the score; subtract it from the best mean.
    Source:
        Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 10 (estimates of bias).
    """
    n = len(scores[0]) if scores else 0
    if n == 0 or any(len(row) != n for row in scores):
        raise ValueError("the bias of a maximum needs the same examples, at least one, for every variant")
    rng, means, bias = random.Random(seed), [sum(row) / n for row in scores], 0.0
    for _ in range(n_draws):
        drawn = rng.choices(range(n), k=n)
        found = [sum(row[i] for i in drawn) / n for row in scores]
        best = max(range(len(scores)), key=found.__getitem__)
        bias += found[best] - means[best]
    return bias / n_draws
