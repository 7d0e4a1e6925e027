"""What closed blocks of outcomes say of two means: sums per arm, the log e-value of a block, evidence that grows.

A block's outcomes can be merged per arm, and do not depend on the order in which they came. The bets on a block rest
only on what was known before it opened: a prior, and earlier outcomes, of which older ones weigh less.

A block's factor is always positive. Given the past and the arms' counts, units are independent. Then E[exp(log_e)] <= 1
under every pair of means on the null's side, whatever the sizes of the arms and for every outcome in [0, 1]: each
factor is 1 + a (y - m), and the bets of the two arms balance, so the product's mean is at most exp(n lam ((mean_c -
mean_b) - d0)) <= 1. Products over blocks stay valid however the share changed. Evidence is a mixture of such products
over a few alternatives; its peak counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, fsum, log

from optimizer.core.statistics.projection import projected


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Count, sum and sum of squares of outcomes in [0, 1]. Sums of parts add up to the sums of the whole."""

    n: float = 0.0  # not a whole number where older outcomes weigh less
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(n=self.n + other.n, total=self.total + other.total, squares=self.squares + other.squares)

    def times(self, weight: float) -> Sums:
        return Sums(n=self.n * weight, total=self.total * weight, squares=self.squares * weight)

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    @property
    def variance(self) -> float | None:
        """The variance of one outcome, divided by n; at least 0."""
        return max(0.0, self.squares / self.n - (self.total / self.n) ** 2) if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One value in [0, 1] per unit, stored as how many units had which value.

    0/1 outcomes need two entries, and scores are exact as well.
    """

    counts: tuple[tuple[float, int], ...] = ()  # (value, units > 0), in order of value

    def __post_init__(self) -> None:
        for y, k in self.counts:
            if not 0 <= y <= 1 or k <= 0:
                raise ValueError(f"outcomes lie in [0, 1] and are counted from 1, got {self.counts}")

    @classmethod
    def of(cls, values: Iterable[float]) -> Outcomes:
        return cls(counts=tuple(sorted(Counter(map(float, values)).items())))

    @classmethod
    def binary(cls, n: int, successes: int) -> Outcomes:
        if not 0 <= successes <= n:
            raise ValueError(f"{successes} successes of {n} outcomes: the first must lie between 0 and the second")
        return cls(counts=tuple((y, k) for y, k in ((0.0, n - successes), (1.0, successes)) if k))

    def __add__(self, other: Outcomes) -> Outcomes:
        if not self.counts or not other.counts:
            return self if self.counts else other
        merged = Counter(dict(self.counts))
        merged.update(dict(other.counts))
        return Outcomes(counts=tuple(sorted(merged.items())))

    @property
    def n(self) -> int:
        return sum([k for _, k in self.counts])

    @property
    def sums(self) -> Sums:
        return Sums(
            n=self.n, total=fsum([y * k for y, k in self.counts]), squares=fsum([y * y * k for y, k in self.counts])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The outcomes of both arms in one closed stretch of time of one stage."""

    stage: int  # index into the ladder
    candidate: Outcomes = Outcomes()
    champion: Outcomes = Outcomes()

    def __add__(self, other: Block) -> Block:
        if self.stage != other.stage:
            raise ValueError(
                f"blocks of stages {self.stage} and {other.stage} are never merged: the share differs between them"
            )
        return Block(
            stage=self.stage, candidate=self.candidate + other.candidate, champion=self.champion + other.champion
        )

    @property
    def n(self) -> int:
        return self.candidate.n + self.champion.n

    @property
    def has_both_arms(self) -> bool:
        return bool(self.candidate.counts) and bool(self.champion.counts)


def with_pending(pending: Block | None, block: Block) -> Block:
    """``block`` together with the block that was carried over; one of another stage is dropped, since its share
    differed.
    """
    return pending + block if pending is not None and pending.stage == block.stage else block


RATE_FLOOR = 0.001  # rates are clipped to [.001, .999] before they are projected
VARIANCE_FLOOR = 0.02**2
CAP = 0.9  # the largest bet, as a share of the bet that would make a factor zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Bet:
    """Factors 1 + a_c (y - m_c) for the candidate's units and 1 + a_b (y - m_b) for the champion's."""

    m_c: float
    m_b: float
    a_c: float
    a_b: float

    def times(self, weight: float) -> Bet:
        """The same bet with a smaller stake, ``weight`` in (0, 1]; it stays balanced."""
        return self if weight == 1.0 else replace(self, a_c=self.a_c * weight, a_b=self.a_b * weight)


NO_BET = Bet(m_c=0.5, m_b=0.5, a_c=0.0, a_b=0.0)  # wins and loses nothing


def bernoulli_bet(*, theta_c: float, theta_b: float, w: float, d0: float) -> Bet:
    """The likelihood ratio of (theta_c, theta_b) against its projection on the null, as a bet: best for 0/1 outcomes.

    y theta/m + (1 - y)(1 - theta)/(1 - m) = 1 + (theta - m)/(m (1 - m)) (y - m).
    """
    m_c, m_b = projected(theta_c, theta_b, w=w, d0=d0)
    return Bet(m_c=m_c, m_b=m_b, a_c=(theta_c - m_c) / (m_c * (1 - m_c)), a_b=(theta_b - m_b) / (m_b * (1 - m_b)))


def bounded_bet(*, theta_c: float, theta_b: float, d0: float, w: float, var_c: float, var_b: float) -> Bet:
    """The variance-aware bet for scores in [0, 1]. At a deviation of .15 it saves 40-54 % of the Bernoulli bet's
    labels.

    Args:
        var_c, var_b: variances of one outcome, from earlier blocks only, > 0.
    Source:
        Waudby-Smith and Ramdas (2024), JRSS B 86(1), 1-27 (betting); the two-arm form is derived in
        docs/reference/statistics.md.
    """
    part_c, part_b = var_c / w, var_b / (1 - w)
    h = theta_c - theta_b - d0
    m_b = theta_b + h * part_b / (part_c + part_b)
    return _balanced(m_c=m_b + d0, m_b=m_b, lam=h / (part_c + part_b + h * h), k=1.0, w=w)


def ratio_bet(*, mu_b: float, q: float, k: float, w: float, var_c: float, var_b: float) -> Bet:
    """The bet against "mean_c <= k mean_b" (cost), for the alternative mean_c = q mu_b with q > k."""
    part_c, part_b = var_c / w, k * k * var_b / (1 - w)
    theta_c = q * mu_b
    h = theta_c - k * mu_b
    m_c = theta_c - h * part_c / (part_c + part_b)
    return _balanced(m_c=m_c, m_b=m_c / k, lam=h / (part_c + part_b + h * h), k=k, w=w)


def log_e(bet: Bet, block: Block) -> float:
    """The log factors of both arms' units, added up."""
    return _arm(block.candidate, bet.a_c, bet.m_c) + _arm(block.champion, bet.a_b, bet.m_b)


def clip_rate(rate: float) -> float:
    return min(1 - RATE_FLOOR, max(RATE_FLOOR, rate))


def _balanced(*, m_c: float, m_b: float, lam: float, k: float, w: float) -> Bet:
    if not (0 < m_c < 1 and 0 < m_b < 1):  # the null's line has left the unit square
        return NO_BET
    zero_at = min(w / m_c, (1 - w) / (k * (1 - m_b))) if lam > 0 else min(w / (1 - m_c), (1 - w) / (k * m_b))
    size = min(abs(lam), CAP * zero_at)
    lam = size if lam > 0 else -size
    return Bet(m_c=m_c, m_b=m_b, a_c=lam / w, a_b=-k * lam / (1 - w))


def _arm(outcomes: Outcomes, a: float, m: float) -> float:
    total = 0.0
    # Added one after another: sum() adds differently from Python 3.12 on, and verification compares every digit.
    for y, k in outcomes.counts:
        total += k * log(1 + a * (y - m))
    return total


PRIOR_N = 50.0
HALF_LIFE = 300.0
NOTHING = Sums()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """The plug-in mean and variance that a block is bet on with; they never include the block itself."""

    prior_mean: float
    prior_variance: float | None = None  # None: that of a 0/1 outcome with the prior's mean
    prior_n: float = PRIOR_N
    half_life: float | None = HALF_LIFE  # in outcomes of this arm; None: all weigh alike
    earlier: Sums = NOTHING

    @property
    def mean(self) -> float:
        return clip_rate(self._weighted(self.prior_mean, self.earlier.total))

    @property
    def variance(self) -> float:
        prior = self.prior_mean * (1 - self.prior_mean) if self.prior_variance is None else self.prior_variance
        raw = self._weighted(self.prior_mean, self.earlier.total)
        return max(VARIANCE_FLOOR, self._weighted(prior + self.prior_mean**2, self.earlier.squares) - raw**2)

    def after(self, outcomes: Outcomes) -> PlugIn:
        new = outcomes.sums
        return PlugIn(
            prior_mean=self.prior_mean,
            prior_variance=self.prior_variance,
            prior_n=self.prior_n,
            half_life=self.half_life,
            earlier=self.earlier.times(1.0 if self.half_life is None else 2.0 ** (-new.n / self.half_life)) + new,
        )

    def _weighted(self, prior: float, total: float) -> float:
        return (prior * self.prior_n + total) / (self.prior_n + self.earlier.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A null about mean_c - mean_b, and the alternatives beyond it that are bet on.

    Gaps > 0: the null is "difference <= boundary". Gaps < 0: the null is "difference >= boundary". ``alpha`` is the
    level.
    """

    name: str
    boundary: float
    gaps: tuple[float, ...]  # all of one sign
    weights: tuple[float, ...]  # sum to 1
    alpha: float

    def __post_init__(self) -> None:
        if len(self.gaps) != len(self.weights) or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(
                f"{self.name}: {len(self.gaps)} gaps need as many weights that sum to 1, got {self.weights}"
            )
        if not (all(g > 0 for g in self.gaps) or all(g < 0 for g in self.gaps)):
            raise ValueError(f"{self.name}: gaps lie on one side of the boundary, got {self.gaps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence against one null: the wealth of a mixture of bets."""

    weights: tuple[float, ...]
    components: tuple[float, ...]  # summed log factors, one per alternative
    peak: float = 0.0  # the highest log e-value so far, which gives the verdict; e-values start at 1

    @classmethod
    def none(cls, weights: Sequence[float]) -> Evidence:
        return cls(weights=tuple(weights), components=(0.0,) * len(weights))

    @property
    def log_e(self) -> float:
        return log_sum_exp([log(w) + c for w, c in zip(self.weights, self.components, strict=True)])

    def after(self, log_factors: Sequence[float]) -> Evidence:
        components = tuple([c + f for c, f in zip(self.components, log_factors, strict=True)])
        following = Evidence(weights=self.weights, components=components, peak=self.peak)
        return Evidence(weights=self.weights, components=components, peak=max(self.peak, following.log_e))


def threshold(alpha: float) -> float:
    """Natural log of 1 / alpha. Under the null it is ever reached with probability at most alpha (Ville 1939)."""
    return log(1 / alpha)


def log_sum_exp(logs: Sequence[float]) -> float:
    """log(sum(exp(x))) without overflow, for at least one finite x."""
    top, total = max(logs), 0.0
    # Added one after another: sum() adds differently from Python 3.12 on, and verification compares every digit.
    for x in logs:
        total += exp(x - top)
    return top + log(total)
