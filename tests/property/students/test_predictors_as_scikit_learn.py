"""A predictor exported as JSON answers what scikit-learn's own model answers, for every training set and row."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from optimizer.adapters.predictors.export import (
    _LEAST_SLOPE,
    GramRecipe,
    fitted_isotonic,
    fitted_platt,
    gram_part,
    trees_part,
    vectorizer,
)
from optimizer.core.base.canonical import round_floats
from optimizer.core.predictor.predictor import FORMAT, Predictor
from tests.examples import n_examples

pytest.importorskip("sklearn")
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CLOSE = 1e-9
seeds = st.integers(0, 10_000)
ALPHABET = "ab AB.é\n1"


def _predictor(parts, *, features=(), answers="probability", calibration=None):
    data = {
        "format": FORMAT,
        "answers": answers,
        "features": list(features),
        "parts": parts,
        "calibration": calibration,
    }
    return Predictor.from_data(json.loads(json.dumps(data)))


def _rows(seed, n, missing=0.0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, 4)) * [1, 10, 0.1, 100] + [0, 5, -1, 50]
    right = (matrix[:, 0] + matrix[:, 1] / 10 + rng.normal(size=n)) > np.median(matrix[:, 0])
    right[:2] = (True, False)
    matrix[rng.random(matrix.shape) < missing] = np.nan
    return matrix, right


def _numbers(row):
    return {f"f{i}": None if math.isnan(value) else float(value) for i, value in enumerate(row)}


@settings(max_examples=n_examples(10), deadline=None)
@given(seeds, st.integers(30, 120), st.sampled_from([0.01, 1.0, 100.0]))
def test_a_linear_part_is_the_scaled_logistic_regression(seed, n, strength):
    matrix, right = _rows(seed, n)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(matrix, right)
    scaler, model = pipeline[0], pipeline[1]
    part = {
        "kind": "linear",
        "centre": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        "weights": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
    }
    predictor = _predictor([part], features=["f0", "f1", "f2", "f3"])
    ours = [predictor.predict(_numbers(row)) for row in matrix]
    assert np.abs(ours - pipeline.predict_proba(matrix)[:, 1]).max() < CLOSE


@settings(max_examples=n_examples(8), deadline=None)
@given(seeds, st.integers(60, 200), st.sampled_from([0.0, 0.3]), st.booleans())
def test_trees_are_the_boosted_trees_with_their_way_of_missing_values(seed, n, missing, is_probability):
    matrix, right = _rows(seed, n, missing)
    kind = HistGradientBoostingClassifier if is_probability else HistGradientBoostingRegressor
    model = kind(max_iter=8, max_leaf_nodes=6, min_samples_leaf=8, early_stopping=False).fit(
        matrix, right if is_probability else right * 0.7
    )
    answers = "probability" if is_probability else "score"
    predictor = _predictor([trees_part(model)], features=["f0", "f1", "f2", "f3"], answers=answers)
    asked = np.vstack([matrix, _rows(seed + 1, 40, 0.3)[0]])
    theirs = model.predict_proba(asked)[:, 1] if is_probability else model.predict(asked)
    assert np.abs([predictor.predict(_numbers(row)) for row in asked] - theirs).max() < CLOSE


@settings(max_examples=n_examples(15), deadline=None)
@given(
    st.lists(st.text(ALPHABET, min_size=1, max_size=60), min_size=6, max_size=20),
    st.sampled_from([("char", 1, 3), ("char", 2, 2), ("word", 1, 2), ("value", 1, 1)]),
    st.booleans(),
    seeds,
)
def test_grams_are_the_tf_idf_of_the_text_times_the_weights(texts, cut, lower, seed):
    analyzer, low, high = cut
    recipe = GramRecipe(text="query", analyzer=analyzer, low=low, high=high, lower=lower, least_rows=1)
    tf_idf = vectorizer(recipe)
    try:
        known = tf_idf.fit_transform(texts)
    except ValueError:  # no word of two letters anywhere: scikit-learn knows nothing to count
        return
    weights = np.random.default_rng(seed).normal(size=known.shape[1])
    predictor = _predictor([gram_part(recipe, tf_idf, weights)], answers="score")
    asked = [*texts, "", "unseen Zz"]
    theirs = tf_idf.transform(asked) @ weights
    assert np.abs([predictor.predict({}, {"query": text}) for text in asked] - theirs).max() < CLOSE


@settings(max_examples=n_examples(15), deadline=None)
@given(seeds, st.integers(5, 80))
def test_isotonic_knots_are_the_isotonic_regression(seed, n):
    rng = np.random.default_rng(seed)
    margins, right = rng.normal(size=n) * 3, rng.random(n) < 0.6
    known = np.round(1 / (1 + np.exp(-margins)), 6)
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(known, right)
    identity = {"kind": "linear", "centre": [0], "scale": [1], "weights": [1], "intercept": 0}
    predictor = _predictor([identity], features=["m"], calibration=fitted_isotonic(margins, right))
    asked = rng.normal(size=50) * 4
    theirs = model.predict(1 / (1 + np.exp(-asked)))
    assert np.abs([predictor.predict({"m": float(each)}) for each in asked] - theirs).max() < CLOSE


@settings(max_examples=n_examples(12), deadline=None)
@given(seeds, st.integers(10, 80))
def test_platt_is_the_logistic_regression_of_the_margin_or_the_base_rate(seed, n):
    rng = np.random.default_rng(seed)
    margins = rng.normal(size=n)
    right = rng.random(n) < 1 / (1 + np.exp(-2 * margins))
    right[:2] = (True, False)
    model = LogisticRegression(C=1e6, max_iter=1000).fit(margins.reshape(-1, 1), right)
    identity = {"kind": "linear", "centre": [0], "scale": [1], "weights": [1], "intercept": 0}
    calibration = fitted_platt(margins, right)
    predictor = _predictor([identity], features=["m"], calibration=calibration)
    ours = [predictor.predict({"m": float(each)}) for each in margins]
    theirs = (
        model.predict_proba(margins.reshape(-1, 1))[:, 1]
        if model.coef_[0, 0] > _LEAST_SLOPE
        else np.full(n, right.mean())
    )
    assert np.abs(ours - theirs).max() < (CLOSE if calibration["slope"] > _LEAST_SLOPE else 1e-5)


@settings(max_examples=n_examples(10), deadline=None)
@given(seeds)
def test_the_hash_outlives_the_rounding_of_a_variant_and_the_way_through_json(seed):
    matrix, right = _rows(seed, 80)
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=8, early_stopping=False).fit(matrix, right)
    predictor = _predictor(
        [trees_part(model)], features=["f0", "f1", "f2", "f3"], calibration=fitted_isotonic(matrix[:, 0], right)
    )
    again = Predictor.from_data(json.loads(json.dumps(round_floats(predictor.to_data()))))
    assert again.hash == predictor.hash
    assert replace(again, data={}) == replace(Predictor.from_data(again.to_data()), data={})
