"""From users' thumbs to a predictor of them, judged on later thumbs that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optimizer.adapters.predictors.measures import area, measured
from optimizer.adapters.predictors.recipe import Recipe
from optimizer.adapters.predictors.training import TrainingRow, train
from optimizer.core.predictor.alignment import EARLIER, FEATURES, LENGTH, Alignment

RECIPES = (
    *(Recipe(name=f"linear, penalty {p:g}", model="linear", features=tuple(FEATURES), penalty=p) for p in (30, 300)),
    Recipe(name="trees", model="trees", features=tuple(FEATURES), n_trees=40, penalty=10),
)


def learn_alignment(
    numbers: Sequence[dict[str, float | None]], liked: Sequence[bool], groups: Sequence[str], trained_on: dict[str, Any]
) -> Alignment:
    """jobs.feedback.align_family.Learn with scikit-learn. The measured predictor is the one served: it was trained
    on earlier thumbs only.
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
        estimate = measured(area, [predictor.predict(row.numbers) for row in later], targets, units, seed=0)
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
