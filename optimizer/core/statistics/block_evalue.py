"""What one closed block says against a null hypothesis about the two means: log e-values. A factor is never 0 or below.

Given the past and the arms' counts, units are independent. Then E[exp(log_e)] <= 1 under every pair of means on the
null's side, whatever the sizes of the arms and for every outcome in [0, 1]: each factor is 1 + a (y - m), and the bets
of the two arms balance, so the product's mean is at most exp(n lam ((mean_c - mean_b) - d0)) <= 1. Products over blocks
stay valid whatever the share did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

from optimizer.core.statistics.outcomes import Block, Outcomes
from optimizer.core.statistics.projection import projected

RATE_FLOOR = 0.001  # rates are kept in [.001, .999] before they are projected
VARIANCE_FLOOR = 0.02**2
CAP = 0.9  # of the bet that would make a factor zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Bet:
    """Factors 1 + a_c (y - m_c) for the candidate's units and 1 + a_b (y - m_b) for the champion's."""

    m_c: float
    m_b: float
    a_c: float
    a_b: float

    def times(self, weight: float) -> Bet:
        """A smaller stake, ``weight`` in (0, 1], is balanced as well."""
        return self if weight == 1.0 else replace(self, a_c=self.a_c * weight, a_b=self.a_b * weight)


NO_BET = Bet(m_c=0.5, m_b=0.5, a_c=0.0, a_b=0.0)  # which cannot lose


def bernoulli_bet(*, theta_c: float, theta_b: float, w: float, d0: float) -> Bet:
    """The likelihood ratio of (theta_c, theta_b) against its projection on the null,
    written as a bet: best for 0/1 outcomes.

    y theta/m + (1 - y)(1 - theta)/(1 - m) = 1 + (theta - m)/(m (1 - m)) (y - m).
    """
    m_c, m_b = projected(theta_c, theta_b, w=w, d0=d0)
    return Bet(m_c=m_c, m_b=m_b, a_c=(theta_c - m_c) / (m_c * (1 - m_c)), a_b=(theta_b - m_b) / (m_b * (1 - m_b)))


def bounded_bet(
    *, theta_c: float, theta_b: float, d0: float, w: float, var_c: float, var_b: float, cap: float = CAP
) -> Bet:
    """The variance-aware bet for scores in [0, 1]: saves 40-54 % of the labels of the Bernoulli bet at a deviation
    of .15.

    Args:
        var_c, var_b: variances of one outcome, from earlier blocks only, > 0.
        cap: largest share of the bet at which a factor would become zero, in (0, 1).
    Source:
        Waudby-Smith and Ramdas (2024), JRSS B 86(1), 1-27 (betting);
        the two-arm form is derived in docs/reference/statistics.md.
    """
    part_c, part_b = var_c / w, var_b / (1 - w)
    h = theta_c - theta_b - d0
    m_b = theta_b + h * part_b / (part_c + part_b)
    return _balanced(m_c=m_b + d0, m_b=m_b, lam=h / (part_c + part_b + h * h), k=1.0, w=w, cap=cap)


def ratio_bet(*, mu_b: float, q: float, k: float, w: float, var_c: float, var_b: float, cap: float = CAP) -> Bet:
    """The bet against "mean_c <= k mean_b" (cost), for the alternative mean_c = q mu_b with q > k."""
    part_c, part_b = var_c / w, k * k * var_b / (1 - w)
    theta_c = q * mu_b
    h = theta_c - k * mu_b
    m_c = theta_c - h * part_c / (part_c + part_b)
    return _balanced(m_c=m_c, m_b=m_c / k, lam=h / (part_c + part_b + h * h), k=k, w=w, cap=cap)


def log_e(bet: Bet, block: Block) -> float:
    """Sum of the log factors over both arms' units."""
    return _arm(block.candidate, bet.a_c, bet.m_c) + _arm(block.champion, bet.a_b, bet.m_b)


def clip_rate(rate: float) -> float:
    return min(1 - RATE_FLOOR, max(RATE_FLOOR, rate))


def _balanced(*, m_c: float, m_b: float, lam: float, k: float, w: float, cap: float) -> Bet:
    if not (0 < m_c < 1 and 0 < m_b < 1):  # the line leaves the square there
        return NO_BET
    zero_at = min(w / m_c, (1 - w) / (k * (1 - m_b))) if lam > 0 else min(w / (1 - m_c), (1 - w) / (k * m_b))
    size = min(abs(lam), cap * zero_at)
    lam = size if lam > 0 else -size
    return Bet(m_c=m_c, m_b=m_b, a_c=lam / w, a_b=-k * lam / (1 - w))


def _arm(outcomes: Outcomes, a: float, m: float) -> float:
    total = 0.0
    for (
        y,
        k,
    ) in (
        outcomes.counts
    ):  # one after another: sum() adds differently from Python 3.12 on, and verification compares every digit
        total += k * log(1 + a * (y - m))
    return total
