"""Predictors as data: what they answer, and what they say of data that cannot be used."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.predictor.predictor import FORMAT, Predictor
from tests.cases import named

TREE = {
    "feature": [0, -1, 1, -1, -1],
    "threshold": [0.5, 0, 2.0, 0, 0],
    "left": [1, 0, 3, 0, 0],
    "right": [2, 0, 4, 0, 0],
    "missing_left": [True, False, False, False, False],
    "value": [0, -1.0, 0, 1.0, 3.0],
}
DATA = {
    "format": FORMAT,
    "answers": "probability",
    "features": ["a", "b"],
    "parts": [
        {"kind": "linear", "centre": [1.0, 0.0], "scale": [2.0, 1.0], "weights": [4.0, -1.0], "intercept": 0.5},
        {"kind": "trees", "share": 0.5, "start": 0.2, "trees": [TREE]},
        {
            "kind": "grams",
            "text": "query",
            "analyzer": "word",
            "low": 1,
            "high": 1,
            "lower": True,
            "intercept": 0.0,
            "grams": {"why": [2.0, 1.5], "sum": [1.0, -1.0]},
        },
    ],
    "calibration": {"kind": "platt", "slope": 2.0, "intercept": -1.0},
    "trained_on": {"rows": 100},
}


def changed(path, value):
    data = copy.deepcopy(DATA)
    here = data
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return data


def test_a_prediction_is_the_calibrated_sum_of_the_parts():
    predictor = Predictor.from_data(DATA)
    linear = 0.5 + (3.0 - 1.0) / 2.0 * 4.0 - 2.0
    trees = 0.5 * (0.2 + 1.0)  # a > .5, b <= 2
    grams = 1.5  # "why" alone: its weight, whatever its rarity
    margin = linear + trees + grams
    assert predictor.margin({"a": 3.0, "b": 2.0}, {"query": "Why?"}) == pytest.approx(margin)
    assert predictor.predict({"a": 3.0, "b": 2.0}, {"query": "Why?"}) == pytest.approx(
        1 / (1 + math.exp(1 - 2 * margin))
    )


def test_what_was_not_measured_is_the_centre_of_a_line_and_goes_the_tree_s_own_way():
    predictor = Predictor.from_data(DATA)
    assert predictor.margin({"a": None}) == pytest.approx(0.5 + 0.5 * (0.2 - 1.0))
    assert predictor.margin({}) == predictor.margin({"a": None, "b": None}, {})


def test_a_huge_margin_does_not_overflow():
    data = changed(
        ["parts"], [{"kind": "linear", "centre": [0, 0], "scale": [1, 1], "weights": [1, 0], "intercept": 0}]
    )
    predictor = Predictor.from_data(data)
    assert predictor.predict({"a": 1e6}) == 1.0
    assert predictor.predict({"a": -1e6}) == 0.0


def test_isotonic_calibration_is_level_outside_its_knots():
    score = changed(["answers"], "score") | {
        "calibration": {"kind": "isotonic", "x": [0.0, 1.0], "y": [10.0, 20.0]},
        "parts": [{"kind": "linear", "centre": [0, 0], "scale": [1, 1], "weights": [1, 0], "intercept": 0}],
    }
    predictor = Predictor.from_data(score)
    assert [predictor.predict({"a": a}) for a in (-5.0, 0.25, 1.0, 9.0)] == [10.0, 12.5, 20.0, 20.0]


@named(
    ("path", "value", "pointer"),
    {
        "another format": (["format"], "pickle", "/format"),
        "unknown kind of answer": (["answers"], "yes", "/answers"),
        "a feature twice": (["features"], ["a", "a"], "/features/1"),
        "no part": (["parts"], [], "/parts"),
        "unknown part": (["parts", 0, "kind"], "forest", "/parts/0/kind"),
        "too few weights": (["parts", 0, "weights"], [1.0], "/parts/0/weights"),
        "no number": (["parts", 0, "weights", 1], math.nan, "/parts/0/weights/1"),
        "a truth value for a number": (["parts", 0, "weights", 1], True, "/parts/0/weights/1"),
        "a scale of zero": (["parts", 0, "scale", 0], 0.0, "/parts/0/scale/0"),
        "unknown key": (["parts", 0, "extra"], 1, "/parts/0/extra"),
        "a tree that goes round": (["parts", 1, "trees", 0, "right"], [2, 0, 0, 0, 0], "/parts/1/trees/0/right/2"),
        "a feature that is not there": (["parts", 1, "trees", 0, "feature", 0], 2, "/parts/1/trees/0/feature/0"),
        "columns of different length": (["parts", 1, "trees", 0, "value"], [1.0], "/parts/1/trees/0"),
        "a piece without weight": (["parts", 2, "grams", "why"], [1.0], "/parts/2/grams/why"),
        "runs too long": (["parts", 2, "high"], 900, "/parts/2/low"),
        "a calibration that turns the order round": (["calibration", "slope"], -1.0, "/calibration/slope"),
        "knots that do not rise": (["calibration"], {"kind": "isotonic", "x": [0, 0], "y": [0, 1]}, "/calibration/x"),
        "values that fall": (["calibration"], {"kind": "isotonic", "x": [0, 1], "y": [1, 0]}, "/calibration/y"),
        "no probabilities": (["calibration"], {"kind": "isotonic", "x": [0, 1], "y": [0, 2]}, "/calibration/y"),
        "what JSON cannot hold": (["trained_on"], {"loss": math.inf}, ""),
        "another hash": (["hash"], "0" * 64, "/hash"),
    },
)
def test_data_that_cannot_be_used_is_refused_with_its_place(path, value, pointer):
    with pytest.raises(InvalidInput) as caught:
        Predictor.from_data(changed(path, value))
    assert pointer in [fault.pointer for fault in caught.value.faults]


@pytest.mark.parametrize("data", [None, [], "text", 3, {}])
def test_what_is_no_predictor_at_all_is_refused_too(data):
    with pytest.raises(InvalidInput):
        Predictor.from_data(data)


def test_every_fault_is_told_at_once():
    data = changed(["format"], "x")
    data["parts"][0]["intercept"] = None
    with pytest.raises(InvalidInput) as caught:
        Predictor.from_data(data)
    assert {fault.pointer for fault in caught.value.faults} == {"/format", "/parts/0/intercept"}


def test_the_hash_changes_with_the_content_and_only_with_it():
    predictor = Predictor.from_data(DATA)
    assert Predictor.from_data(predictor.to_data()).hash == predictor.hash
    assert Predictor.from_data(changed(["parts", 0, "intercept"], 0.6)).hash != predictor.hash


def test_a_prediction_loads_no_numerical_library():
    program = (
        "import sys; import optimizer.core.predictor.predictor, optimizer.core.predictor.request_features, "
        "optimizer.core.predictor.answer_features, optimizer.content.core.policy.learned_knob; "
        "sys.exit(', '.join({'numpy', 'scipy', 'sklearn'} & set(sys.modules)) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")
