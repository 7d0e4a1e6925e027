"""How good a confidence is: separation of right from wrong (AUC) and calibration (Brier, ECE, reliability), with
intervals.

And from users' thumbs to a predictor of them, judged on later thumbs that it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optimizer.adapters.predictors.export import Recipe
from optimizer.adapters.predictors.training import TrainingRow, train
from optimizer.core.evaluation.comparison import group_draws
from optimizer.core.evaluation.judging.calibration import IntervalEstimate
from optimizer.core.predictor.attach import EARLIER, FEATURES, LENGTH, Alignment
from optimizer.core.search.cascade.learned import Bin
from optimizer.core.statistics.interval import wilson_interval

N_BINS = 10
N_DRAWS = 1000
_TINY = 1e-12


def brier(predictions: Any, targets: Any) -> float:
    """Mean squared difference of confidence and outcome, in [0, 1]; lower is better (Brier 1950)."""
    import numpy as np

    return float(np.mean((np.asarray(predictions) - np.asarray(targets)) ** 2))


def calibration_error(predictions: Any, targets: Any, *, n_bins: int = N_BINS) -> float:
    """Expected calibration error over bins of equal size, in [0, 1].

    It is the mean distance of promised and observed share (Naeini et al. 2015). Never zero on finite data: a perfectly
    calibrated confidence on n rows shows about sqrt(n_bins x p(1-p) / n).
    """
    import numpy as np

    chosen, right = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    return float(np.abs(np.bincount(_places(chosen, n_bins), weights=chosen - right)).sum() / len(chosen))


def area(predictions: Any, targets: Any) -> float | None:
    """Area under the ROC curve: how often a right answer has the higher confidence, ties a half; None with one kind
    only.
    """
    import numpy as np
    from scipy.stats import rankdata

    right = np.asarray(targets) > 0.5
    n_right = int(right.sum())
    if n_right in (0, len(right)):
        return None
    ranks = rankdata(predictions)
    return float((ranks[right].sum() - n_right * (n_right + 1) / 2) / (n_right * (len(right) - n_right)))


def with_interval(
    of: Callable[[Any, Any], float | None],
    predictions: Sequence[float],
    targets: Sequence[float],
    groups: Sequence[str],
    *,
    seed: int,
    n_draws: int = N_DRAWS,
) -> IntervalEstimate:
    """``of(predictions, targets)`` with its 95 % percentile interval of the bootstrap over groups (Efron 1979).

    Rows of one group are drawn together, so that related rows do not feign certainty.
    """
    import numpy as np

    chosen, right = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    estimates = [
        estimate
        for rows in group_draws(groups, seed=seed, n_draws=n_draws)
        if (estimate := of(chosen[rows], right[rows])) is not None
    ]
    low, high = (
        (float(each) for each in np.quantile(estimates, [0.025, 0.975]))
        if len(estimates) > n_draws / 2
        else (None, None)
    )
    return IntervalEstimate(value=of(chosen, right), low=low, high=high)


def reliability(predictions: Sequence[float], targets: Sequence[float], *, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """The reliability plot as a table, bins of equal size in rising confidence; equal confidences share a bin.

    The intervals are Wilson's.
    """
    import numpy as np

    chosen, right = np.asarray(predictions, dtype=float), np.asarray(targets, dtype=float)
    rows = []

    place = _places(chosen, n_bins)
    for each in [np.flatnonzero(place == code) for code in np.unique(place)]:
        interval = wilson_interval(int((right[each] > 0.5).sum()), len(each))
        rows.append(
            Bin(
                n=len(each),
                promised=float(chosen[each].mean()),
                right=float(right[each].mean()),
                low=interval.lower,
                high=interval.upper,
            )
        )
    return tuple(rows)


def _places(predictions: Any, n_bins: int) -> Any:
    """The bin of each row; equal confidences share one."""
    import numpy as np

    edges = np.quantile(predictions, np.linspace(0, 1, n_bins + 1)[1:-1])
    return np.searchsorted(edges, predictions - _TINY, side="right")


RECIPES = (
    *(Recipe(name=f"linear, penalty {p:g}", model="linear", features=tuple(FEATURES), penalty=p) for p in (30, 300)),
    Recipe(name="trees", model="trees", features=tuple(FEATURES), n_trees=40, penalty=10),
)


def learn_alignment(
    numbers: Sequence[dict[str, float | None]], liked: Sequence[bool], groups: Sequence[str], trained_on: dict[str, Any]
) -> Alignment:
    """jobs.feedback.align_family.Learn with scikit-learn. The predictor that is measured is the one that is served.

    It was trained on earlier thumbs only.
    """
    from threadpoolctl import threadpool_limits

    cut = int(len(liked) * EARLIER)
    rows = [
        TrainingRow(numbers=number, target=float(good), group=group)
        for number, good, group in zip(numbers, liked, groups, strict=True)
    ]
    with threadpool_limits(1):
        predictor = train(rows[:cut], RECIPES, trained_on=trained_on).predictor
        later = rows[cut:]
        targets, units = [row.target for row in later], [row.group for row in later]
        estimate = with_interval(area, [predictor.predict(row.numbers) for row in later], targets, units, seed=0)
        length = area([row.numbers[LENGTH] for row in later], targets)
    if estimate.value is None or estimate.low is None or estimate.high is None or length is None:
        raise ValueError("the later thumbs are all of one kind")
    return Alignment(
        predictor=predictor,
        n_earlier=cut,
        n_later=len(later),
        area=estimate.value,
        low=estimate.low,
        high=estimate.high,
        length_area=max(length, 1 - length),
    )
