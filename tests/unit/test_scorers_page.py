"""Each metric says what it measures, and how fast it is was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimizer.core.family.metrics import METRICS

# what asks a model, or reads a file that a family brings
LEFT_OUT = (
    "processed_quality",
    "judge",
    *(name for name, record in METRICS.built_in.items() if {"corpus", "predictor"} & record.parameters.keys()),
)
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "scorers.json"


@pytest.mark.parametrize("name", METRICS.built_in)
def test_each_metric_says_what_it_measures(name):
    assert METRICS.built_in[name].judge.__doc__


def test_the_speed_of_each_metric_was_measured():
    measured = {cell["case"] for cell in json.loads(RESULTS.read_text(encoding="utf-8"))["cells"]}
    assert measured == set(METRICS.built_in) - set(LEFT_OUT)
