"""Scores of content learned with scikit-learn, which is loaded when training starts.

What comes out is data (``content/core/policy/learned_knob.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.adapters.predictors.recipe import GramRecipe, Recipe
from optimizer.adapters.predictors.training import TrainingRow, fit, group_folds, out_of_fold
from optimizer.content.core.policy.learned_knob import TEXT, read_text
from optimizer.content.core.policy.text_statistics import text_statistics
from optimizer.content.core.search.learned_score import (
    CHARACTERS,
    LEAST_GROUPS,
    LENGTH,
    PLAIN,
    JudgedItem,
    LearnedScore,
    Method,
)
from optimizer.core.base.canonical import rounded
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.predictor.predictor import FORMAT, Predictor

FEW_STATISTICS = tuple(
    f"text.{name}"
    for name in (
        "log_words",
        "log_chars",
        "log_sentences",
        "sentence_mean",
        "sentence_deviation",
        "log_paragraphs",
        "distinct_share",
        "distinct_root",
        "word_length",
        "long_words",
        "syllables",
        "connectives",
        "stop_words",
        "first_person",
        "second_person",
        "hedges",
        "modals",
        "digits",
        "upper",
        "punctuation",
        "questions",
        "exclamations",
        "commas",
        "brackets",
        "ends",
    )
)
RECIPES: Mapping[Method, Recipe] = {  # the best of each kind by cross-validation on the training rows
    PLAIN: Recipe(name=PLAIN, model="linear", features=FEW_STATISTICS, penalty=100),
    CHARACTERS: Recipe(
        name=CHARACTERS,
        model="linear",
        features=tuple(text_statistics("")),
        grams=(GramRecipe(text=TEXT, analyzer="char", low=1, high=3, lower=False, least_rows=2),),
        penalty=4,
        number_strength=0.03,
    ),
}
WORDS_OF_LENGTH = "text.log_words"
_IDENTITY = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}


def learn_score(
    items: Sequence[JudgedItem], method: Method, *, trained_on: Mapping[str, Any], seed: int
) -> LearnedScore:
    """content.core.search.learned_score.LearnScore.

    Of an item that was not released only its statistics are learned from, never its words.
    """
    from threadpoolctl import threadpool_limits

    rows = [_row(item) for item in items]
    says = {**trained_on, "recipe": method, "rows": len(rows)}
    if method == LENGTH:
        data = {
            "format": FORMAT,
            "answers": "score",
            "features": [WORDS_OF_LENGTH],
            "parts": [_IDENTITY],
            "trained_on": says,
        }
        return LearnedScore(
            predictor=Predictor.from_data(data).to_data(), out_of_fold=tuple(_length(row) for row in rows)
        )
    if (n_groups := len({item.group for item in items})) < LEAST_GROUPS:
        raise DatasetTooSmall(
            f"Cannot learn a score: {len(items)} items stand in {n_groups} groups, and it takes {LEAST_GROUPS} to"
            " measure it on items it has not seen.",
            n_groups=n_groups,
            n_required=LEAST_GROUPS,
        )
    with threadpool_limits(1):
        scores = out_of_fold(rows, RECIPES[method], group_folds(rows, seed=seed), probability=False)
        data = {**fit(rows, RECIPES[method], probability=False), "trained_on": says}
    return LearnedScore(predictor=Predictor.from_data(rounded(data)).to_data(), out_of_fold=tuple(scores))


def _row(item: JudgedItem) -> TrainingRow:
    numbers, texts = read_text(item.text, item.title)
    return TrainingRow(numbers=numbers, texts=texts if item.released else {}, target=item.quality, group=item.group)


def _length(row: TrainingRow) -> float:
    value = row.numbers[WORDS_OF_LENGTH]
    assert value is not None
    return value
