"""From tiers' recorded answers to a learned confidence, measured beside the recorded one on unseen answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optimizer.adapters.predictors.export import GramRecipe, Recipe
from optimizer.adapters.predictors.measures import (
    area,
    brier,
    calibration_error,
    reliability,
    with_interval,
)
from optimizer.adapters.predictors.training import TrainedPredictor, TrainingRow, log_loss, train
from optimizer.core.evaluation.comparison import group_draws
from optimizer.core.predictor.answer_features import answer_features
from optimizer.core.predictor.attach import ANSWER, OF_LOG_PROBABILITIES, REQUEST
from optimizer.core.predictor.request_features import FEATURES
from optimizer.core.search.cascade.learned import JudgedExample, Quality, TrainingResult

SURE = 0.10  # one-sided: a paired bootstrap of whole groups has to say "less wrong" with 90 %
N_DRAWS = 2000
N_BINS = 5  # of a study's hundreds of answers
MOST_PIECES = 500  # of a text, so that a variant stays small
RECORDED_FEATURES = ("answer.confidence_logit", "answer.confidence_given")
RECORDED = (Recipe(name="recorded", model="linear", features=RECORDED_FEATURES, penalty=0.01),)
# A served predictor is not given these.
_NOT_EXECUTED = (*RECORDED_FEATURES, "answer.agreement")
_WORDS = GramRecipe(text=REQUEST, analyzer="word", low=1, high=2, least_rows=3, most=MOST_PIECES)
_LABEL = GramRecipe(text=ANSWER, analyzer="value", lower=False, least_rows=3, most=MOST_PIECES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much less log loss one confidence has than another, with the one-sided 90 % bound."""

    mean: float
    low: float


def learn_confidence(
    answers: Sequence[JudgedExample], *, has_labels: bool, trained_on: Mapping[str, Any], seed: int
) -> TrainingResult:
    """core.search.cascade.learned.Learn with scikit-learn.

    The recorded confidence is calibrated out of fold as well, so that a scale alone is no gain.
    """
    from threadpoolctl import threadpool_limits

    # With so few rows further threads only wait for one another: ten times as long on a busy machine.
    with threadpool_limits(1):
        targets, groups = [float(each.is_right) for each in answers], [each.group for each in answers]
        rows = [
            TrainingRow(numbers=each.read.numbers, texts=each.read.texts, target=target, group=each.group)
            for each, target in zip(answers, targets, strict=True)
        ]
        plain = [
            TrainingRow(numbers=answer_features("", confidence=each.recorded), target=target, group=each.group)
            for each, target in zip(answers, targets, strict=True)
        ]
        recorded = train(plain, RECORDED, trained_on={}, seed=seed)
        training = train(rows, recipes(answers, has_labels=has_labels), trained_on={}, seed=seed)
        # What is tried where only the request is known: its features, and with them its words.
        features = tuple(name for name in FEATURES if name in _measured(answers))
        words = Recipe(
            name="request and words", model="linear", features=features, grams=(_WORDS,), penalty=5, number_strength=0.2
        )
        alone = train(
            rows,
            (
                Recipe(name="request", model="linear", features=features, penalty=30),
                Recipe(name="request, trees", model="trees", features=features, n_trees=40, penalty=10),
                *([words] if any(REQUEST in each.read.texts for each in answers) else []),
            ),
            trained_on={},
            seed=seed,
        )
        gain = log_loss_gain(training, recorded, targets, groups)
        learned = quality(training.out_of_fold, targets, groups)
        as_recorded = [
            (each.recorded, target, each.group)
            for each, target in zip(answers, targets, strict=True)
            if each.recorded is not None
        ]

        def data(trained: TrainedPredictor, its: Quality) -> Mapping[str, Any]:
            says = {
                "recipe": trained.recipe.name,
                "calibration": trained.calibration,
                "brier": its.brier,
                "ece": its.ece,
            }
            return trained.trained_on({**trained_on, **says}).to_data()

        return TrainingResult(
            predictor=data(training, learned),
            before=data(alone, quality(alone.out_of_fold, targets, groups)),
            before_out_of_fold=alone.out_of_fold,
            out_of_fold=training.out_of_fold,
            learned=learned,
            recorded=quality(*zip(*as_recorded, strict=True)) if as_recorded else None,
            gain=gain.mean,
            gain_low=gain.low,
        )


def recipes(answers: Sequence[JudgedExample], *, has_labels: bool) -> tuple[Recipe, ...]:
    """The recipes to try: features of request and answer as a line and as trees, and with the words or the label."""
    features = tuple(sorted(_measured(answers) - set(_NOT_EXECUTED)))
    trusted = tuple(name for name in OF_LOG_PROBABILITIES if name in features)
    label = (_LABEL,) if has_labels else ()
    words = Recipe(
        name="features and words",
        model="linear",
        features=features,
        grams=(_WORDS, *label),
        penalty=5,
        number_strength=0.2,
        trusted=trusted,
    )
    return (
        *(
            Recipe(
                name=f"features, penalty {penalty:g}",
                model="linear",
                features=features,
                penalty=penalty,
                trusted=trusted,
            )
            for penalty in (30, 300)
        ),
        Recipe(name="features, trees", model="trees", features=features, n_trees=40, penalty=10),
        *(
            [
                Recipe(
                    name="features and label",
                    model="linear",
                    features=features,
                    grams=label,
                    penalty=5,
                    trusted=trusted,
                )
            ]
            if label
            else []
        ),
        *([words] if any(REQUEST in each.read.texts for each in answers) else []),
    )


def _measured(answers: Sequence[JudgedExample]) -> set[str]:
    """Features that at least one answer has: a column without a value teaches nothing."""
    return {name for each in answers for name, value in each.read.numbers.items() if value is not None}


def log_loss_gain(
    learned: TrainedPredictor, recorded: TrainedPredictor, targets: Sequence[float], groups: Sequence[str]
) -> Gain:
    """Cross-fitted log loss of ``recorded`` less that of ``learned``, with a paired bootstrap of whole groups."""
    import numpy as np

    ours, plain = (
        np.array([log_loss([p], [t]) for p, t in zip(each.out_of_fold, targets, strict=True)])
        for each in (learned, recorded)
    )
    gain = plain - ours
    low = float(np.quantile([gain[rows].mean() for rows in group_draws(groups, seed=9, n_draws=N_DRAWS)], SURE))
    return Gain(mean=float(gain.mean()), low=low)


def quality(confidence: Sequence[float], targets: Sequence[float], groups: Sequence[str]) -> Quality:
    """Brier, ECE with their intervals over groups, AUC and the reliability table."""
    n_bins = min(N_BINS, len(targets))
    ece = partial(calibration_error, n_bins=n_bins)
    of_brier, of_ece = (
        with_interval(of, confidence, targets, groups, seed=7, n_draws=N_DRAWS // 4) for of in (brier, ece)
    )
    assert of_brier.value is not None  # both are defined on any rows
    assert of_ece.value is not None
    return Quality(
        n=len(targets),
        brier=of_brier.value,
        brier_low=of_brier.low,
        brier_high=of_brier.high,
        ece=of_ece.value,
        ece_low=of_ece.low,
        ece_high=of_ece.high,
        auc=area(confidence, targets),
        reliability=reliability(confidence, targets, n_bins=n_bins),
    )
