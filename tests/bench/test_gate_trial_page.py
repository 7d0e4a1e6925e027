"""What the stored result of the replayed tests says of a known harm, and of a log against itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILE = ROOT / "bench" / "results" / "gate_trial.json"
RESULT = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"cells": []}

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="make bench-gates has not been run here")


def ours(case: str) -> float:
    return next(c["ours"] for c in RESULT["cells"] if c["case"].startswith(f"{case} vs "))


def test_a_known_harm_ships_when_the_margin_allows_it_and_does_not_when_it_does_not():
    case = "Cookie Cats, gate_40 against gate_30, margin"
    assert ours(f"{case} 0.05: promote") > 0.9
    assert ours(f"{case} 0.005: promote") <= 0.05


def test_a_log_against_itself_is_not_rolled_back():
    rates = [c["ours"] for c in RESULT["cells"] if c["case"].startswith("A/A ") and ": roll_back vs " in c["case"]]
    assert rates
    assert max(rates) <= 0.05
