"""The bars of the benchmark of judges are met, and stored figures come again."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
bench = importlib.import_module("judges")
RESULT = json.loads((ROOT / "bench" / "results" / "judges.json").read_text(encoding="utf-8"))
CELLS = {cell["case"]: cell for cell in RESULT["cells"]}


def test_every_interval_covers_at_least_93_of_100() -> None:
    covered = [cell for case, cell in CELLS.items() if case.endswith(": Detent")]
    assert len(covered) >= 3 * 16
    assert min(cell["ours"] for cell in covered) >= bench.LEAST_COVERAGE


def test_calibrated_judges_come_nearer_to_people_than_raw_ones_and_than_the_mean_rating() -> None:
    for name in ("the raw judge", "the mean rating"):
        assert CELLS[f"all judges: squared error less than {name}"]["high"] < 0


@pytest.mark.skipif(not bench.DATA.exists(), reason="the recorded judges are not here; set DETENT_SHARED")
def test_a_committee_measured_again_gives_the_figures_of_the_page() -> None:
    again = {cell.case: cell.ours for cell in bench.committees()}
    assert again == pytest.approx({case: CELLS[case]["ours"] for case in again})
