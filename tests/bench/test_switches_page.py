"""Equal champions are called worse no more often than the level says, and every drop is told."""

from __future__ import annotations

import json
from pathlib import Path

from switches import RATES

from optimizer.core.rollout.switch_watch import LEVEL

ROOT = Path(__file__).parents[2]
RESULT = json.loads((ROOT / "bench" / "results" / "switches.json").read_text(encoding="utf-8"))


def test_at_most_one_equal_switch_in_a_thousand_is_called_worse() -> None:
    equal = [cell for cell in RESULT["cells"] if cell["case"].endswith("false alarms")]
    assert sum(cell["n"] for cell in equal if "weeks before" in cell["case"]) >= 10_000
    assert all(cell["high"] <= LEVEL for cell in equal if "differ" not in cell["case"])


def test_every_drop_is_told_within_the_week() -> None:
    first = [cell for cell in RESULT["cells"] if cell["case"].endswith("whichever is first: minutes")]
    assert len(first) == 3 * len(RATES)
    assert all(cell["high"] is not None for cell in first)
