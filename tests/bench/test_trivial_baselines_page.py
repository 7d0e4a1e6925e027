"""What the pages on searches say of answers without a model is what the result file says,
and the stored figures come again.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from optimizer.runtime.wiring import classify

ROOT = Path(__file__).parents[2]
bench = importlib.import_module("trivial_baselines")
without_model = importlib.import_module("recorded.without_model")
tasks = importlib.import_module("recorded.tasks")
RESULT = json.loads((ROOT / "bench" / "results" / "trivial_baselines.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", list(bench.PAGES))
def test_a_page_ends_with_the_section_that_the_result_file_makes(kind: str) -> None:
    page = (ROOT / "docs" / "reference" / bench.PAGES[kind]).read_text(encoding="utf-8")
    assert page == without_model.with_section(page, RESULT, kind)
    assert page.count(without_model.TITLE) == 1


def test_every_family_of_the_pages_has_a_row() -> None:
    named = {cell["case"].split(":")[0] for cell in RESULT["cells"]}
    assert named == {f"recorded, {task.name}" for task in tasks.TASKS} | {f"live, {name}" for name in bench.LIVE_TASKS}


@pytest.mark.skipif(not bench.DATA.exists(), reason="the tasks' rows are not here; set DETENT_SHARED")
def test_a_family_measured_again_gives_the_figures_of_the_page() -> None:
    task = next(t for t in tasks.TASKS if t.name == "intent_routing")
    draws = [(task.examples(bench.DATA, "train", bench.POOL), task.examples(bench.DATA, "dev", bench.N_EXAMPLES))]
    again = {cell.case: cell.other for cell in bench.measured(task, without_model.RECORDED, draws, classify)}
    stored = {
        cell["case"]: cell["other"] for cell in RESULT["cells"] if cell["case"].startswith("recorded, intent_routing:")
    }
    assert again == pytest.approx(stored)
