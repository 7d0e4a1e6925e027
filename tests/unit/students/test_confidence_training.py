"""Training: what it learns, what it refuses, and that no row is judged by a predictor that has seen it or its group."""

from __future__ import annotations

import json
import random

import pytest

from optimizer.adapters.predictors.export import GramRecipe, Recipe
from optimizer.adapters.predictors.measures import (
    area,
    brier,
    calibration_error,
    reliability,
    with_interval,
)
from optimizer.adapters.predictors.training import TrainingRow, group_folds, log_loss, out_of_fold, train
from optimizer.content.core.policy.learned_knob import ContentScore
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.evaluation.comparison import group_draws
from optimizer.core.predictor.predictor import Predictor
from tests.cases import named

LINEAR = Recipe(name="linear", model="linear", features=("x",))
TREES = Recipe(name="trees", model="trees", features=("x",), n_trees=15, learning_rate=0.2)
NOTHING = Recipe(name="nothing", model="linear", features=("noise",))


def rows(n=200, *, seed=0, bump=False, n_groups=None):
    """Right where x is high; with ``bump`` right only in the middle, which no line can say."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        x = rng.uniform(-1, 1)
        chance = (0.95 if abs(x) < 0.4 else 0.1) if bump else 0.5 + 0.45 * x
        numbers = {"x": None if i % 17 == 0 else x, "noise": rng.random()}
        target = float(rng.random() < chance)
        texts = {"query": "ja" if target else "nein"}
        found.append(TrainingRow(numbers=numbers, texts=texts, target=target, group=f"g{i % (n_groups or n)}"))
    return found


def test_a_signal_is_learned_and_noise_is_not_chosen():
    trained = train(rows(), [NOTHING, LINEAR], trained_on={"rows": 200})
    assert trained.recipe is LINEAR
    assert trained.losses["linear"] < trained.losses["nothing"]
    assert trained.predictor.predict({"x": 0.9}) > 0.8 > 0.2 > trained.predictor.predict({"x": -0.9})


def test_trees_are_chosen_where_a_line_cannot_say_it():
    assert train(rows(400, bump=True), [LINEAR, TREES], trained_on={}).recipe is TREES


def test_pieces_of_a_text_are_learned():
    words = Recipe(name="words", model="linear", grams=(GramRecipe(text="query", analyzer="word"),), penalty=0.1)
    trained = train(rows(), [NOTHING, words], trained_on={})
    assert trained.recipe is words
    assert trained.predictor.predict({}, {"query": "ja"}) > 0.9 > 0.1 > trained.predictor.predict({}, {"query": "nein"})


def test_texts_that_share_no_piece_leave_the_numbers_to_learn_from():
    alone = [
        TrainingRow(numbers=row.numbers, texts={"query": f"w{i}"}, target=row.target, group=row.group)
        for i, row in enumerate(rows())
    ]
    words = Recipe(
        name="words", model="linear", features=("x",), grams=(GramRecipe(text="query", analyzer="word", least_rows=3),)
    )
    trained = train(alone, [words], trained_on={})
    assert [part["kind"] for part in trained.predictor.to_data()["parts"]] == ["linear"]
    assert trained.losses["words"] == pytest.approx(train(alone, [LINEAR], trained_on={}).losses["linear"], abs=0.01)


def test_what_was_trained_is_data_that_reads_back_and_says_what_it_was_trained_on():
    trained = train(rows(), [LINEAR], trained_on={"rows": 200, "set": "made up"})
    again = Predictor.from_data(json.loads(json.dumps(trained.predictor.to_data())))
    assert again.hash == trained.predictor.hash
    assert again.trained_on == {"rows": 200, "set": "made up"}
    assert again.predict({"x": 0.3}) == trained.predictor.predict({"x": 0.3})


def test_training_twice_gives_the_same_predictor():
    once, again = (train(rows(), [LINEAR, TREES], trained_on={}).predictor.hash for _ in range(2))
    assert once == again


def test_rows_of_one_group_share_a_fold_and_folds_are_of_like_size():
    given = rows(100, n_groups=23)
    folds = group_folds([row.group for row in given], seed=3)
    assert len({(row.group, fold) for row, fold in zip(given, folds, strict=True)}) == 23
    sizes = [folds.count(fold) for fold in set(folds)]
    assert len(sizes) == 5
    assert max(sizes) - min(sizes) <= 6


def test_no_row_is_judged_by_a_predictor_that_saw_its_group():
    """The text names the group and the group alone decides:
    whoever has seen the group knows, whoever has not cannot.
    """
    rng = random.Random(1)
    right = {f"g{i}": float(rng.random() < 0.5) for i in range(60)}
    given = [
        TrainingRow(numbers={}, texts={"query": f"id{name}"}, target=right[name], group=name)
        for name in right
        for _ in range(5)
    ]
    by_name = Recipe(name="names", model="linear", grams=(GramRecipe(text="query", analyzer="word"),), penalty=0.01)
    apart = out_of_fold(given, by_name, group_folds([row.group for row in given]), probability=True)
    mixed = out_of_fold(given, by_name, [i % 5 for i in range(len(given))], probability=True)
    targets = [row.target for row in given]
    assert area(mixed, targets) == 1.0
    assert area(apart, targets) < 0.7


@named(
    "given",
    {
        "too few rows": rows(10),
        "too few groups": rows(100, n_groups=3),
        "one kind of answer": [TrainingRow(numbers={"x": float(i)}, target=1.0, group=str(i)) for i in range(50)],
        "one wrong answer": [
            TrainingRow(numbers={"x": float(i)}, target=float(i > 0), group=str(i)) for i in range(50)
        ],
    },
)
def test_too_little_to_learn_from_is_refused(given):
    with pytest.raises(DatasetTooSmall):
        train(given, [LINEAR], trained_on={})


def test_an_uncalibrated_recipe_is_calibrated_out_of_fold():
    given = rows(400)
    sharp = Recipe(name="trees", model="trees", features=("x", "noise"), n_trees=80, learning_rate=0.3, penalty=0.0)
    trained = train(given, [sharp], trained_on={})
    assert trained.calibration in {"platt", "isotonic"}
    raw = [
        1 / (1 + 2.718281828**-m)
        for m in out_of_fold(given, sharp, group_folds([row.group for row in given]), probability=True)
    ]
    targets = [row.target for row in given]
    assert calibration_error(trained.out_of_fold, targets) < calibration_error(raw, targets)


def test_brier_log_loss_and_area_of_answers_known_by_hand():
    assert brier([1.0, 0.0, 0.5], [1, 0, 1]) == pytest.approx(0.25 / 3)
    assert log_loss([0.5, 0.5], [1, 0]) == pytest.approx(0.6931, abs=1e-4)
    assert area([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == pytest.approx(0.75)
    assert area([0.5, 0.5], [0, 1]) == 0.5
    assert area([0.5, 0.6], [1, 1]) is None


def test_a_confidence_that_keeps_its_word_has_a_small_calibration_error_and_a_boastful_one_a_large_one():
    rng = random.Random(4)
    kept = [rng.random() for _ in range(4000)]
    right = [float(rng.random() < p) for p in kept]
    assert calibration_error(kept, right) < 0.03
    assert calibration_error([min(1.0, p + 0.2) for p in kept], right) > 0.12


def test_the_reliability_table_counts_every_row_once_and_keeps_equal_confidences_together():
    table = reliability([0.2] * 30 + [0.9] * 10, [0.0] * 24 + [1.0] * 6 + [1.0] * 9 + [0.0], n_bins=10)
    rows = [(row.n, round(row.promised, 3), row.right) for row in table]
    assert rows == [(30, 0.2, 0.2), (10, 0.9, 0.9)]
    assert all(row.low < row.right < row.high for row in table)


def test_an_interval_over_few_groups_is_wider_than_one_over_as_many_rows():
    rng = random.Random(5)
    level = [rng.choice([0.1, 0.9]) for _ in range(10)]
    targets = [float(rng.random() < level[i % 10]) for i in range(400)]

    def mean(n_groups: int):
        groups = [str(i % n_groups) for i in range(400)]
        return with_interval(lambda _, y: float(y.mean()), [0.5] * 400, targets, groups, seed=1, n_draws=300)

    grouped, alone = mean(10), mean(400)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_drawn_samples_are_whole_groups():
    groups = ["a", "a", "b", "c", "c", "c"]
    for drawn in group_draws(groups, seed=0, n_draws=20):
        counts = [list(drawn).count(i) for i in range(6)]
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]


def test_a_content_score_judges_a_type_by_its_own_predictor_and_knows_no_other():
    constant = {"format": "detent-predictor-1", "answers": "score", "features": ["text.log_words"]}
    line = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [1.0], "intercept": 0.0}
    data = {
        name: {"predictor": {**constant, "parts": [{**line, "weights": [weight]}]}, "full_from": 1.0}
        for name, weight in (("news", 1.0), ("story", 0.1))
    }
    score = ContentScore.from_data(data)
    text = "one two three four"
    assert score.score("news", text) == pytest.approx(1.609, abs=1e-3)
    assert score.score("poem", text) is None
