"""Training of predictors with scikit-learn, which is loaded when training starts.

The result is data; the Predictor itself measures it, as it will be served.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.adapters.predictors.export import Recipe, fitted_isotonic, fitted_linear, fitted_platt, fitted_trees
from optimizer.core.base.canonical import round_floats
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.predictor.predictor import FORMAT, Predictor

# Takes predictions and targets in the same order; lower is better.
N_FOLDS = 5
_LEAST_ROWS = 4 * N_FOLDS
_CALIBRATIONS = ("none", "platt", "isotonic")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """``target``: 1 right, 0 wrong, or a quality.

    Rows of one ``group`` (a user, a dialogue, a thread) are never on both sides of a fold.
    """

    numbers: Mapping[str, float | None]
    texts: Mapping[str, str] = field(default_factory=dict)
    target: float
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPredictor:
    """``out_of_fold``: for each row in order, the calibrated answer of a predictor that saw neither the row nor its
    group.

    Calibration did not see them either. ``losses``: of each recipe out of fold, before calibration was chosen.
    ``calibration`` is none, platt or isotonic.
    """

    predictor: Predictor
    recipe: Recipe
    calibration: str
    out_of_fold: tuple[float, ...]
    losses: Mapping[str, float]

    def trained_on(self, says: Mapping[str, Any]) -> Predictor:
        """The predictor with another ``trained_on``: its quality is known only after training."""
        return Predictor.from_data(round_floats({**self.predictor.data, "trained_on": dict(says)}))


def log_loss(predictions: Sequence[float], targets: Sequence[float]) -> float:
    """Mean -ln of the probability given to what happened, each kept within [1e-6, 1 - 1e-6]."""
    clipped = [min(max(each, 1e-6), 1 - 1e-6) for each in predictions]
    return -math.fsum(t * math.log(p) + (1 - t) * math.log(1 - p) for p, t in zip(clipped, targets, strict=True)) / len(
        clipped
    )


def train(
    rows: Sequence[TrainingRow], recipes: Sequence[Recipe], *, trained_on: Mapping[str, Any], seed: int = 0
) -> TrainedPredictor:
    """A calibrated predictor of the probability that ``target`` is 1, by the recipe of least out-of-fold log loss.

    The predictor's numbers have 6 decimals, as a Variant keeps them. Raises DatasetTooSmall: fewer than 20 rows or 5
    groups, or too few of one kind.
    """
    n_groups = len({row.group for row in rows})
    if len(rows) < _LEAST_ROWS or n_groups < N_FOLDS:
        raise DatasetTooSmall(
            f"Cannot train a predictor: there are {len(rows)} rows in {n_groups} groups, and it takes at least"
            f" {_LEAST_ROWS} rows in {N_FOLDS} groups to measure it on rows it has not seen. Collect more labelled"
            " answers.",
            n_rows=len(rows),
            n_required=_LEAST_ROWS,
        )
    if len({row.target for row in rows}) < 2:
        raise DatasetTooSmall(
            "Cannot train a predictor: every answer has the same label, so there is nothing to tell apart. Collect"
            " answers of both kinds.",
            n_rows=len(rows),
            n_required=_LEAST_ROWS,
        )
    targets = [row.target for row in rows]
    folds = group_folds([row.group for row in rows], seed=seed)
    # Each part of the rows is judged by what was trained on the others, so right and wrong ones have to stand in two
    # parts each.
    for kind, name in ((True, "right"), (False, "wrong")):
        if len({fold for target, fold in zip(targets, folds, strict=True) if (target > 0.5) is kind}) < 2:
            raise DatasetTooSmall(
                f"Cannot train a predictor: there are too few {name} answers in {len(targets)} to measure it on rows it"
                " has not seen. Collect more answers of that kind.",
                n_rows=len(targets),
                n_required=_LEAST_ROWS,
            )
    margins = {recipe.name: out_of_fold(rows, recipe, folds, probability=True) for recipe in recipes}
    by_platt = {name: _calibrated("platt", raw, targets, folds) for name, raw in margins.items()}
    losses = {name: log_loss(raw, targets) for name, raw in by_platt.items()}
    recipe = min(recipes, key=lambda each: losses[each.name])
    raw = margins[recipe.name]
    others = {kind: _calibrated(kind, raw, targets, folds) for kind in _CALIBRATIONS if kind != "platt"}
    fitted = {**others, "platt": by_platt[recipe.name]}
    calibration = min(_CALIBRATIONS, key=lambda kind: log_loss(fitted[kind], targets))
    data = {
        **fit(rows, recipe, probability=True),
        "calibration": _calibration(calibration, raw, targets),
        "trained_on": dict(trained_on),
    }
    return TrainedPredictor(
        predictor=Predictor.from_data(round_floats(data)),
        recipe=recipe,
        calibration=calibration,
        out_of_fold=tuple(fitted[calibration]),
        losses=losses,
    )


def fit(rows: Sequence[TrainingRow], recipe: Recipe, *, probability: bool) -> dict[str, Any]:
    """The data of a predictor without calibration, numbers unrounded."""
    targets = [row.target for row in rows]
    if recipe.model == "trees":
        parts = fitted_trees(_matrix(rows, recipe.features), targets, recipe, probability=probability)
    else:
        texts = [[row.texts.get(gram.text, "") for row in rows] for gram in recipe.grams]
        parts = fitted_linear(_matrix(rows, recipe.features), texts, targets, recipe, probability=probability)
    return {
        "format": FORMAT,
        "answers": "probability" if probability else "score",
        "features": list(recipe.features),
        "parts": parts,
    }


def out_of_fold(rows: Sequence[TrainingRow], recipe: Recipe, folds: Sequence[int], *, probability: bool) -> list[float]:
    """For each row the margin of a predictor trained on the other folds."""
    margins = [0.0] * len(rows)
    for fold in sorted(set(folds)):
        others = [row for row, its in zip(rows, folds, strict=True) if its != fold]
        predictor = Predictor.from_data(fit(others, recipe, probability=probability))
        for i, row in enumerate(rows):
            if folds[i] == fold:
                margins[i] = predictor.margin(row.numbers, row.texts)
    return margins


def group_folds(groups: Sequence[str], *, seed: int = 0) -> list[int]:
    """The fold of each row, by its group: groups in random order, each into the fold that is smallest so far."""
    import numpy as np

    order = sorted(set(groups))
    np.random.default_rng(seed).shuffle(order)
    size, fold_of = [0] * N_FOLDS, {}
    for group in order:
        fold_of[group] = size.index(min(size))
        size[fold_of[group]] += groups.count(group)
    return [fold_of[group] for group in groups]


def _calibrated(kind: str, margins: Sequence[float], targets: Sequence[float], folds: Sequence[int]) -> list[float]:
    """Out-of-fold margins as probabilities, each calibrated on the other folds."""
    answers = [0.0] * len(margins)
    for fold in sorted(set(folds)):
        others = [i for i, its in enumerate(folds) if its != fold]
        calibration = _calibration(kind, [margins[i] for i in others], [targets[i] for i in others])
        # a predictor whose one part is the margin itself
        data = {
            "format": FORMAT,
            "answers": "probability",
            "features": ["margin"],
            "parts": [{"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}],
            "calibration": calibration,
        }
        predictor = Predictor.from_data(data)
        for i, its in enumerate(folds):
            if its == fold:
                answers[i] = predictor.predict({"margin": margins[i]})
    return answers


def _calibration(kind: str, margins: Sequence[float], targets: Sequence[float]) -> dict[str, Any] | None:
    if kind == "none":
        return None
    return fitted_platt(margins, targets) if kind == "platt" else fitted_isotonic(margins, targets)


def _matrix(rows: Sequence[TrainingRow], features: Sequence[str]) -> list[list[float]]:
    """NaN where a number was not measured, as scikit-learn wants it."""
    return [[math.nan if (value := row.numbers.get(name)) is None else value for name in features] for row in rows]
