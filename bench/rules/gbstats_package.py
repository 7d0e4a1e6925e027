"""GrowthBook's statistics by its own package, which the development lock holds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior  # type: ignore[import-not-found]
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest  # type: ignore[import-not-found]
from gbstats.models.statistics import ProportionStatistic  # type: ignore[import-not-found]

from rules.totals import Bounds

Totals = tuple[int, int, int, int]  # n_c, s_c, n_b, s_b over all stages
PRIOR_SD = 0.3  # relative to the champion's mean: GrowthBook's default, a proper prior around no effect
SOURCE = f"its package {version('gbstats')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Of the difference: normal with ``mean`` and ``sd``."""

    mean: float
    sd: float
    chance_to_win: float


def is_silent(totals: Totals) -> bool:
    """The package answers without a verdict where an arm is empty or shows no variance."""
    n_c, s_c, n_b, s_b = totals
    return not (0 < s_c < n_c and 0 < s_b < n_b)


def sequential(totals: Totals) -> Bounds | None:
    """The two-sided sequential interval of the absolute difference with GrowthBook's defaults; None: it is silent."""
    if is_silent(totals):
        return None
    result = SequentialTwoSidedTTest(*_arms(totals), SequentialConfig(difference_type="absolute")).compute_result()
    return None if result.error_message else Bounds(lower=float(result.ci[0]), upper=float(result.ci[1]))


def bayes(totals: Totals) -> Posterior | None:
    """The posterior of the absolute difference; None where it is silent."""
    if is_silent(totals):
        return None
    prior = GaussianPrior(mean=0, variance=PRIOR_SD**2, proper=True)
    config = EffectBayesianConfig(difference_type="absolute", prior_effect=prior)
    result = EffectBayesianABTest(*_arms(totals), config).compute_result()
    if result.error_message:
        return None
    uplift, chance = result.uplift, float(result.chance_to_win)
    return Posterior(mean=float(uplift.mean), sd=float(uplift.stddev), chance_to_win=chance)


def _arms(totals: Totals) -> tuple[ProportionStatistic, ProportionStatistic]:
    n_c, s_c, n_b, s_b = totals
    return ProportionStatistic(n=n_b, sum=s_b), ProportionStatistic(n=n_c, sum=s_c)
