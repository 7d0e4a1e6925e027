"""docs/reference/scorers.md names every metric with its parsers and parameters, and says what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from optimizer.core.family.metrics import METRICS

# what asks a model, or reads a file that a family brings
LEFT_OUT = (
    "processed_quality",
    "judge",
    *(name for name, record in METRICS.built_in.items() if {"corpus", "predictor"} & record.parameters.keys()),
)
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "scorers.md").read_text(encoding="utf-8")
MEASURED = json.loads((ROOT / "bench" / "results" / "scorers.json").read_text(encoding="utf-8"))["cells"]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]


def row_of(name: str) -> list[str]:
    (row,) = (row for row in ROWS if f"`{name}`" in row[0])
    return row


@pytest.mark.parametrize("name", METRICS.built_in)
def test_each_metric_has_a_row_with_its_parsers_and_parameters(name):
    record = METRICS.built_in[name]
    _, parsers, measures, parameters, _ = row_of(name)
    assert parsers == ", ".join(record.parsers or ("any",))
    assert measures
    assert set(re.findall(r"`(\w+)`", parameters)) == set(record.parameters)


def test_the_page_has_no_others():
    assert {name for row in ROWS for name in re.findall(r"`(\w+)`", row[0])} == set(METRICS.built_in)


def test_the_speed_that_the_page_claims_was_measured():
    speed = {cell["case"]: cell["ours"] for cell in MEASURED}
    assert set(speed) == set(METRICS.built_in) - set(LEFT_OUT)
    assert [name for name, per_second in speed.items() if per_second < 10_000] == ["chrf"]
    chrf = next(cell for cell in MEASURED if cell["case"] == "chrf")
    assert (round(chrf["ours"], -3), round(chrf["other"], -2)) == (5000, 6400)
    ratios = [cell["ratio"] for cell in MEASURED if cell["case"].startswith("rouge")]
    assert 4 <= min(ratios) <= max(ratios) <= 8
