"""GrowthBook's statistics by its own package gbstats (checked with 0.8.0) where it can be imported,
else by the same formulas in ``totals.py``.

The package asks for numpy < 2 and pandas < 2, which cannot live beside the lock's, but what is used here runs on both:

    pip install --no-deps --target FOLDER gbstats==0.8.0
    PYTHONPATH=FOLDER python bench/rollout_statistics.py
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from rules.totals import Bounds, Posterior, gbstats_bayes, gbstats_sequential, pooled

try:
    from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior  # type: ignore[import-not-found]
    from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest  # type: ignore[import-not-found]
    from gbstats.models.statistics import ProportionStatistic  # type: ignore[import-not-found]
except ImportError:
    ProportionStatistic = None

Totals = tuple[int, int, int, int]  # n_c, s_c, n_b, s_b over all stages

PRIOR_SD = 0.3  # relative to the champion's mean: GrowthBook's default, a proper prior around no effect


def source() -> str:
    """How the rows of the benchmark name what computed them."""
    if ProportionStatistic is None:
        return "its formulas"
    try:
        return f"its package {version('gbstats')}"
    except PackageNotFoundError:
        return "its package"


def is_silent(totals: Totals) -> bool:
    """The package answers without a verdict where an arm is empty or shows no variance."""
    n_c, s_c, n_b, s_b = totals
    return not (0 < s_c < n_c and 0 < s_b < n_b)


def sequential(totals: Totals) -> Bounds | None:
    """The two-sided sequential interval of the absolute difference with GrowthBook's defaults; None
    where it is silent.
    """
    if is_silent(totals):
        return None
    n_c, s_c, n_b, s_b = totals
    if ProportionStatistic is None:
        return gbstats_sequential(pooled(*totals), n=n_c + n_b)
    config = SequentialConfig(difference_type="absolute")
    result = SequentialTwoSidedTTest(
        ProportionStatistic(n=n_b, sum=s_b), ProportionStatistic(n=n_c, sum=s_c), config
    ).compute_result()
    if result.error_message:
        return None
    return Bounds(lower=float(result.ci[0]), upper=float(result.ci[1]), p=float(result.p_value))


def bayes(totals: Totals) -> Posterior | None:
    """The posterior of the absolute difference; None where it is silent."""
    if is_silent(totals):
        return None
    n_c, s_c, n_b, s_b = totals
    if ProportionStatistic is None:
        return gbstats_bayes(pooled(*totals), champion_mean=s_b / n_b, prior_sd=PRIOR_SD)
    prior = GaussianPrior(mean=0, variance=PRIOR_SD**2, proper=True)
    config = EffectBayesianConfig(difference_type="absolute", prior_effect=prior)
    result = EffectBayesianABTest(
        ProportionStatistic(n=n_b, sum=s_b), ProportionStatistic(n=n_c, sum=s_c), config
    ).compute_result()
    if result.error_message:
        return None
    mean, sd = float(result.uplift.mean), float(result.uplift.stddev)
    return Posterior(
        mean=mean,
        sd=sd,
        chance_to_win=float(result.chance_to_win),
        lower=float(result.ci[0]),
        upper=float(result.ci[1]),
    )
