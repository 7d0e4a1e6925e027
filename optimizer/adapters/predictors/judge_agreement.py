"""How far a judge's scores agree with people's ratings, measured with numpy and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import fsum
from typing import Any

from optimizer.adapters.predictors.measures import brier, calibration_error, with_interval
from optimizer.adapters.predictors.training import group_folds
from optimizer.core.base.values import on_lines
from optimizer.core.evaluation.judging.calibration import Agreement, FittedJudge, IntervalEstimate, Method
from optimizer.core.predictor.parts import logistic

_GRADES = 5
_PER_BIN, _MOST_BINS = 10, 10


def fit_judge(scores: Sequence[float], ratings: Sequence[float], groups: Sequence[str], passes: float) -> FittedJudge:
    """core.evaluation.judging.calibration.FitJudge with scikit-learn."""
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
        return with_interval(measure, predicted, ratings, groups, seed=0)

    def less_than(predicted: Sequence[float]) -> IntervalEstimate:
        apart = [(m - r) ** 2 - (f - r) ** 2 for m, f, r in zip(fitted.out_of_fold, predicted, ratings, strict=True)]
        return of(lambda some, _: float(some.mean()), apart)

    errors = partial(calibration_error, n_bins=n_bins)
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


Points = tuple[tuple[float, float], ...]

# Ratings from which the isotonic map is tried: on recorded judges it follows fewer ratings too closely to be as right
# as the logistic curve.
LEAST_ISOTONIC = 200
_N_POINTS = 50  # of a curve, whose chords are then within 1e-3 of it
_LOOSE = 1e6  # inverse of the penalty: none to speak of
_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMap:
    """``points``: (score, rating) in rising order of score, all in [0, 1].

    ``out_of_fold``: the mapped score of each answer in order, by a map that saw neither the answer nor its group.
    """

    method: Method
    points: Points
    out_of_fold: tuple[float, ...]


def fit_map(scores: Sequence[float], ratings: Sequence[float], groups: Sequence[str]) -> FittedMap:
    """The logistic curve (Platt 1999); from ``LEAST_ISOTONIC`` ratings on the isotonic map (Zadrozny and Elkan 2002)
    where its squared error out of fold is less.

    Args:
        scores, ratings: in [0, 1], of the same answers in the same order.
        groups: answers of one group (a user, a dialogue) are never on both sides of a fold.
    """
    folds = group_folds(groups)
    methods: tuple[Method, ...] = ("platt", "isotonic") if len(ratings) >= LEAST_ISOTONIC else ("platt",)
    predictions = {method: _out_of_fold(method, scores, ratings, folds) for method in methods}
    method = min(methods, key=lambda each: fsum((p - r) ** 2 for p, r in zip(predictions[each], ratings, strict=True)))
    return FittedMap(method=method, points=fit_points(method, scores, ratings), out_of_fold=tuple(predictions[method]))


def fit_points(method: Method, scores: Sequence[float], ratings: Sequence[float]) -> Points:
    """The map of all the ratings. It never falls: where a higher score goes with a lower rating it is level."""
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        model.fit([round(score, _DECIMALS) for score in scores], ratings)
        return _points(model.X_thresholds_, model.y_thresholds_)
    mean = sum(ratings) / len(ratings)
    if len(set(scores)) == 1 or min(ratings) == 1 or max(ratings) == 0:
        return ((0.0, mean),)
    from sklearn.linear_model import LogisticRegression

    shares = [*ratings, *(1 - rating for rating in ratings)]  # a rating of .7 is seven tenths of a yes
    yes_and_no = [1] * len(ratings) + [0] * len(ratings)
    model = LogisticRegression(C=_LOOSE, max_iter=1000)
    model.fit([[score] for score in (*scores, *scores)], yes_and_no, sample_weight=shares)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        return ((0.0, mean),)
    at = [i / _N_POINTS for i in range(_N_POINTS + 1)]
    return _points(at, [logistic(slope * score + intercept) for score in at])


def map_scores(points: Points, scores: Sequence[float]) -> list[float]:
    rated, ratings = zip(*points, strict=True)
    return [on_lines(rated, ratings, score) for score in scores]


def _out_of_fold(
    method: Method, scores: Sequence[float], ratings: Sequence[float], folds: Sequence[int]
) -> list[float]:
    predictions = [0.0] * len(scores)
    for fold in sorted(set(folds)):
        others = [i for i, its in enumerate(folds) if its != fold]
        own = [i for i, its in enumerate(folds) if its == fold]
        points = fit_points(method, [scores[i] for i in others], [ratings[i] for i in others])
        for i, value in zip(own, map_scores(points, [scores[i] for i in own]), strict=True):
            predictions[i] = value
    return predictions


def _points(scores: Sequence[float], ratings: Sequence[float]) -> Points:
    return tuple((round(float(s), _DECIMALS), round(float(r), _DECIMALS)) for s, r in zip(scores, ratings, strict=True))
