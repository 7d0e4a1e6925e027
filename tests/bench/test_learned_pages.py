"""The benchmarks of learned confidence and of learned content quality: their rules do what they say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

ROOT = Path(__file__).parents[2]
cascade_rows = importlib.import_module("learned.cascade_rows")


def result(name):
    file = ROOT / "bench" / "results" / f"{name}.json"
    if not file.exists():
        pytest.skip(f"python bench/{name}.py has not been run here")
    return json.loads(file.read_text(encoding="utf-8"))


def test_what_the_commands_keep_is_above_the_bar_wherever_dev_saves_65_to_80_percent_and_the_page_says_where_it_ends():
    served = [cell for cell in result("content_commands")["cells"] if cell["case"].endswith(", serves: all")]
    within = [cell["ours"] for cell in served if 0.65 <= cell["other"] <= 0.80]
    assert len(served) == 5
    assert len(within) >= 3
    assert min(within) > 0.70
    page = (ROOT / "docs" / "reference" / "content-quality-measured.md").read_text(encoding="utf-8")
    assert "No transfer to other forums" in page
    assert all(f"| {name} (" in page for name in ("qa_forum", "discussion", "entertainment_dialogue", "story"))


def test_a_learned_confidence_is_used_only_where_train_says_so_with_90_percent_and_it_saves_more_there():
    cells = result("confidence")["cells"]
    sure = {cell["case"].split(": ")[0]: cell["low"] for cell in cells if "log loss less" in cell["case"]}
    used = {cell["case"].split(": ")[0]: cell["ours"] for cell in cells if "learned is used" in cell["case"]}
    inside = {cell["case"]: cell["other"] for cell in cells if ": saved, " in cell["case"]}
    assert used.keys() == sure.keys() != set()
    assert all(
        bool(used[case]) == (low > 0 and inside[f"{case}: saved, learned"] > inside[f"{case}: saved, recorded"])
        for case, low in sure.items()
    )


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.integers(0, 1), st.integers(0, 1), st.floats(0.1, 2)),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_no_threshold_saves_more_within_the_loss_than_the_one_found(rows, loss):
    confidence, cheap, strong, cost = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    n = len(rows)
    pair = cascade_rows.TierPair(
        ids=[str(i) for i in range(n)],
        numbers=[{}] * n,
        texts=[{}] * n,
        cheap=cheap,
        strong=strong,
        cheap_cost=0.1 * cost,
        strong_cost=cost,
    )
    found = cascade_rows.at_threshold(pair, confidence, cascade_rows.best_threshold(pair, confidence, loss))
    assert found.lost <= 100 * loss + 1e-6
    tried = [cascade_rows.at_threshold(pair, confidence, each) for each in [*set(confidence.tolist()), float("inf")]]
    assert found.saved == pytest.approx(max(each.saved for each in tried if each.lost <= 100 * loss + 1e-6))
