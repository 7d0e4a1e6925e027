"""Tests on totals over all outcomes so far: what most experiment platforms compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist

NORMAL = NormalDist()
WALD_BOUND = log(0.95 / 0.05)  # both errors .05


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``diff`` = candidate - champion, with the variance of its error."""

    diff: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    lower: float
    upper: float
    p: float = 1.0


def pooled(n_c: int, s_c: int, n_b: int, s_b: int) -> Difference:
    p_c, p_b = s_c / n_c, s_b / n_b
    return Difference(diff=p_c - p_b, variance=p_c * (1 - p_c) / n_c + p_b * (1 - p_b) / n_b)


def stratified(strata: Sequence[tuple[int, int, int, int]]) -> Difference:
    """Strata (n_c, s_c, n_b, s_b) weighted by n_c n_b / (n_c + n_b); variances from (s + 1) / (n + 2)."""
    weighted = weights = variance = 0.0
    for n_c, s_c, n_b, s_b in strata:
        if not n_c or not n_b:
            continue
        w, p_c, p_b = n_c * n_b / (n_c + n_b), (s_c + 1) / (n_c + 2), (s_b + 1) / (n_b + 2)
        weighted += w * (s_c / n_c - s_b / n_b)
        weights += w
        variance += w * w * (p_c * (1 - p_c) / n_c + p_b * (1 - p_b) / n_b)
    if not weights:
        raise ValueError("no stratum has outcomes of both arms")
    return Difference(diff=weighted / weights, variance=variance / weights**2)


def sprt_llr(d: Difference, *, delta: float) -> float:
    """Wald's log likelihood ratio of "equal" against "lower by delta", by the normal score;
    bounds +-log((1 - beta) / alpha).
    """
    return delta * (2 * d.diff + delta) / (2 * d.variance)


def msprt_log_lr(d: Difference, *, theta0: float, tau: float) -> float:
    """Robbins' mixture: log LR of N(theta0, tau^2) against theta0 (Johari and others 2017)."""
    v, t = d.variance, tau * tau
    return 0.5 * log(v / (v + t)) + t * (d.diff - theta0) ** 2 / (2 * v * (v + t))


def asymptotic_bounds(d: Difference, *, best_information: float, alpha: float) -> Bounds:
    """One-sided asymptotic confidence sequences, each at alpha (Waudby-Smith, Arbour,
    Sinha, Kennedy and Ramdas 2024).
    """
    return _one_sided(d, x=_tuning(2 * alpha) / (best_information * d.variance), alpha=alpha)


def gbstats_one_sided(d: Difference, *, n: int, alpha: float = 0.05, tuning: float = 5000.0) -> Bounds:
    """The one-sided sequential interval of GrowthBook's guardrails:
    tightest at 5,000 units unless tuned (equation 134 of the same paper).
    """
    return _one_sided(d, x=n * _tuning(2 * alpha) / tuning, alpha=alpha)


def gbstats_sequential(d: Difference, *, n: int, alpha: float = 0.05, tuning: float = 5000.0) -> Bounds:
    """The two-sided sequential interval of gbstats 0.8.0 with its always-valid p-value, absolute differences."""
    x = n * _tuning(alpha) / tuning
    half = sqrt(2 * (x + 1) / x * d.variance * log(sqrt(x + 1) / alpha))
    log_e = -0.5 * log(x + 1) + x / (x + 1) * d.diff**2 / (2 * d.variance)
    return Bounds(lower=d.diff - half, upper=d.diff + half, p=min(1.0, exp(-log_e)))


def _tuning(alpha: float) -> float:
    """rho^2 times the number of units at which the sequence is tightest (equation 161)."""
    return -2 * log(alpha) + log(-2 * log(alpha) + 1)


def _one_sided(d: Difference, *, x: float, alpha: float) -> Bounds:
    half = sqrt(2 * (x + 1) / x * d.variance * log(1 + sqrt(x + 1) / (2 * alpha)))
    return Bounds(lower=d.diff - half, upper=d.diff + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Of the difference: normal with ``mean`` and ``sd``; ``lower`` and ``upper`` bound its middle 95 %."""

    mean: float
    sd: float
    chance_to_win: float
    lower: float
    upper: float


def gbstats_bayes(d: Difference, *, champion_mean: float, prior_sd: float = 0.3) -> Posterior:
    """gbstats 0.8.0: normal prior around 0 with a deviation relative to the champion's mean,
    95 % interval. Not valid under peeking.
    """
    prior = (prior_sd * champion_mean) ** 2
    mean, variance = d.diff * prior / (prior + d.variance), prior * d.variance / (prior + d.variance)
    half = NORMAL.inv_cdf(0.975) * sqrt(variance)
    return Posterior(
        mean=mean,
        sd=sqrt(variance),
        chance_to_win=NORMAL.cdf(mean / sqrt(variance)),
        lower=mean - half,
        upper=mean + half,
    )


def cusum(outcomes: Sequence[float], *, p0: float, p1: float) -> list[float]:
    """Page's (1954) sums of log likelihood ratios of p1 against p0, never below 0."""
    sums, s = [], 0.0
    for y in outcomes:
        s = max(0.0, s + y * log(p1 / p0) + (1 - y) * log((1 - p1) / (1 - p0)))
        sums.append(s)
    return sums
