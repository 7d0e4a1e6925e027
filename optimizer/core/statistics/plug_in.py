"""An arm's mean and variance as known before a block opens: a prior,
and earlier outcomes of which older ones weigh less.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.statistics.block_evalue import VARIANCE_FLOOR, clip_rate
from optimizer.core.statistics.outcomes import Outcomes, Sums

PRIOR_N = 50.0
HALF_LIFE = 300.0
NOTHING = Sums()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """Predictable by construction: ``mean`` and ``variance`` never see the block that they are used on."""

    prior_mean: float
    prior_variance: float | None = None  # None: that of a 0/1 outcome with the prior's mean
    prior_n: float = PRIOR_N
    half_life: float | None = HALF_LIFE  # in outcomes of this arm; None: nothing is forgotten
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
        weight = 1.0 if self.half_life is None else 2.0 ** (-new.n / self.half_life)
        return PlugIn(
            prior_mean=self.prior_mean,
            prior_variance=self.prior_variance,
            prior_n=self.prior_n,
            half_life=self.half_life,
            earlier=self.earlier.times(weight) + new,
        )

    def _weighted(self, prior: float, total: float) -> float:
        return (prior * self.prior_n + total) / (self.prior_n + self.earlier.n)
