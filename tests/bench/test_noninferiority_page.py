"""No size of the test exceeds its level."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULT = json.loads((ROOT / "bench" / "results" / "noninferiority.json").read_text(encoding="utf-8"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    monkeypatch.delitem(sys.modules, "noninferiority", raising=False)


def test_no_exact_size_exceeds_its_level() -> None:
    sizes = [cell for cell in RESULT["cells"] if cell["case"].startswith("0/1") and cell["case"].endswith(": size")]
    assert len(sizes) == 24
    assert all(cell["ours"] <= float(cell["case"].split("level ")[1].split(",")[0]) for cell in sizes)


def test_the_chance_of_passing_is_that_of_the_tables_counted(bench: None) -> None:
    from noninferiority import passes

    assert passes(20, list(range(21)), 0.1, 0.0) == pytest.approx(0.95**20, rel=1e-9)
    assert passes(20, [0] * 21, 0.3, 0.05) == pytest.approx(1.0)
