"""How far a judge's scores agree with people's ratings, measured with numpy and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optimizer.adapters.predictors.judge_map import FittedMap, fit_map
from optimizer.adapters.predictors.measures import brier, calibration_error, measured
from optimizer.core.evaluation.judging.agreement import Agreement, FittedJudge, IntervalEstimate

_GRADES = 5
_PER_BIN, _MOST_BINS = 10, 10


def fit_judge(scores: Sequence[float], ratings: Sequence[float], groups: Sequence[str], passes: float) -> FittedJudge:
    """core.evaluation.judging.agreement.FitJudge with scikit-learn."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        fitted = fit_map(scores, ratings, groups)
        agreement = measure_agreement(scores, ratings, groups, fitted, passes=passes)
    return FittedJudge(method=fitted.method, points=fitted.points, agreement=agreement)


def measure_agreement(
    scores: Sequence[float],
    ratings: Sequence[float],
    groups: Sequence[str],
    fitted: FittedMap,
    *,
    passes: float,
    seed: int = 0,
) -> Agreement:
    """Args:
    scores, ratings: in [0, 1], of the same answers in the same order.
    groups: answers of one group are drawn together for the intervals.
    fitted: the map, with its mapped scores out of fold.
    passes: the least score that passes.
    """
    n_bins = min(_MOST_BINS, max(2, len(scores) // _PER_BIN))
    total = sum(ratings)
    others = [(total - rating) / (len(ratings) - 1) for rating in ratings]

    def of(measure: Callable[[Any, Any], float | None], predicted: Sequence[float]) -> IntervalEstimate:
        got = measured(measure, predicted, ratings, groups, seed=seed)
        return IntervalEstimate(value=got.value, low=got.low, high=got.high)

    def less_than(predicted: Sequence[float]) -> IntervalEstimate:
        apart = [(m - r) ** 2 - (f - r) ** 2 for m, f, r in zip(fitted.out_of_fold, predicted, ratings, strict=True)]
        return of(lambda some, _: float(some.mean()), apart)

    def errors(predicted: Any, wanted: Any) -> float:
        return calibration_error(predicted, wanted, n_bins=n_bins)

    return Agreement(
        n=len(scores),
        spearman=of(_spearman, scores),
        kappa=of(lambda predicted, wanted: _kappa(predicted >= passes, wanted >= passes), fitted.out_of_fold),
        weighted_kappa=of(lambda predicted, wanted: _kappa(_grades(predicted), _grades(wanted)), fitted.out_of_fold),
        raw_error=of(brier, scores),
        mapped_error=of(brier, fitted.out_of_fold),
        mean_error=of(brier, others),
        less_than_raw=less_than(scores),
        less_than_mean=less_than(others),
        raw_calibration_error=of(errors, scores),
        calibration_error=of(errors, fitted.out_of_fold),
    )


def _spearman(scores: Any, ratings: Any) -> float | None:
    import numpy as np
    from scipy.stats import rankdata

    if np.ptp(scores) == 0 or np.ptp(ratings) == 0:
        return None
    return float(np.corrcoef(rankdata(scores), rankdata(ratings))[0, 1])


def _kappa(predicted: Any, wanted: Any) -> float | None:
    """Cohen's kappa, where a difference weighs its square in kinds; None where both are of one kind throughout.

    scikit-learn's takes twenty times as long, and there is one for each draw of each interval.
    """
    import numpy as np

    kinds, places = np.unique(np.stack([predicted, wanted]), return_inverse=True)
    n = len(kinds)
    if n < 2:
        return None
    found_places, wanted_places = places.reshape(2, -1)
    met = np.bincount(found_places * n + wanted_places, minlength=n * n).reshape(n, n)
    by_chance = np.outer(met.sum(axis=0), met.sum(axis=1)) / met.sum()
    weights = np.subtract.outer(np.arange(n), np.arange(n)) ** 2
    return float(1 - np.sum(weights * met) / np.sum(weights * by_chance))


def _grades(values: Any) -> Any:
    import numpy as np

    return np.minimum((np.asarray(values) * _GRADES).astype(int), _GRADES - 1)
