"""The stored results of the simulations hold what the pages promise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "bench" / "results" / "rollout_statistics.json"
LIMITS = json.loads((FILE.parent / "rollout_limits.json").read_text(encoding="utf-8"))
RESULT = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"cells": []}

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="python bench/rollout_statistics.py has not been run here")


def test_the_interval_holds_what_it_promises_and_the_estimate_beside_it() -> None:
    cells = json.loads((FILE.parent / "rollout_intervals.json").read_text(encoding="utf-8"))["cells"]
    missed = [c for c in cells if ": misses it ever" in c["case"]]
    outside = [c for c in cells if ": an estimate outside ever" in c["case"]]
    assert max(c["ours"] for c in missed) <= 0.08
    assert [c["ours"] for c in outside] == [0.0] * len(outside)
    assert sum(c["n"] for c in outside) >= 2000
    assert len(missed) == len(outside) - 1, "all but the difference that moves"


def test_every_cell_has_at_least_two_thousand_runs_behind_it():
    """Means of labels to one verdict count only the runs that ended so."""
    assert all(c["n"] >= 2000 for c in RESULT["cells"] if not c["case"].startswith("A") or "rate" in c["case"])


def test_the_promised_error_rates_hold():
    def rate(case: str) -> float:
        return next(c["ours"] for c in RESULT["cells"] if c["case"] == f"{case} vs reference table")

    wrong = [c["ours"] for c in RESULT["cells"] if c["case"].startswith("C false alarm, A/A")]
    assert rate("B -5.0 pt: promote") <= 0.05
    assert rate("B +0.0 pt: roll_back") + sum(wrong) <= 0.05
    assert len(wrong) == 5


def test_they_hold_with_quality_gate_and_guardrails_together():
    found = {c["case"]: c["ours"] for c in RESULT["cells"] if c["case"].startswith("whole, ")}
    assert found["whole, equal: roll_back vs safe rollout (GrowthBook)"] <= 0.05
    assert found["whole, quality -5 pt: promote vs safe rollout (GrowthBook)"] <= 0.05


@pytest.mark.parametrize(
    "start",
    [
        "drift, ",
        "late, both arms alike",
        "returning, 500 users, +0 pt: roll_back",
        "returning, 500 users, -5 pt: promote",
    ],
)
def test_they_hold_when_bases_and_shares_move_feedback_is_late_or_users_return(start: str) -> None:
    found = [c["ours"] for c in RESULT["cells"] if c["case"].startswith(start)]
    assert found
    assert max(found) <= 0.05


DAYS = json.loads((FILE.parent / "rollout_days.json").read_text(encoding="utf-8"))["cells"]
BEYOND = (
    "± 10 by the week, +",
    "± 10 by the week, -",
    "± 10 by the week, window 24 h",
    "+ 5 for 48 hours",
    "± 20 by the day, +",  # its worst hour lies four margins below
    "± 10 by the day, 6,000 users who come back twice a day",
)


def of_days(case: str) -> dict[str, Any]:
    return next(c for c in DAYS if c["case"].startswith(f"days, {case} vs "))


def test_both_promises_hold_wherever_the_difference_swings_that_the_page_claims() -> None:
    ends = re.compile("days, .*(-5 pt: promote|[+]0 pt: roll_back) vs .*")
    wrong = [c for c in DAYS if ends.fullmatch(c["case"]) and not c["case"].removeprefix("days, ").startswith(BEYOND)]
    assert len(wrong) >= 16
    assert min(c["n"] for c in wrong) >= 2000
    assert [c["case"] for c in wrong if c["low"] > 0.05] == []


def test_waiting_for_whole_days_costs_a_day_at_most_where_nothing_swings() -> None:
    for mean in ("+0", "-5"):
        assert of_days(f"the same at every hour, {mean} pt: days more")["ours"] <= 1


def limit(case: str) -> dict[str, Any]:
    return next(c for c in LIMITS["cells"] if c["case"].startswith(f"{case} vs "))


def test_the_figure_of_the_page_on_gates_is_the_measured_one() -> None:
    tenth = limit("silent, 10% of the candidate's unhappy, everybody else gives feedback, whole days: ships")
    gates = (ROOT / "docs" / "explanation" / "gates.md").read_text(encoding="utf-8")
    assert f"ships in {round(100 * tenth['ours'])} % of rollouts" in " ".join(gates.split())
    assert tenth["n"] >= 2000


def test_the_promise_holds_in_the_hardest_case_and_where_both_arms_are_silent_alike() -> None:
    for case in (
        "hardest, +0 pt: roll_back",
        "hardest, -5 pt: promote",
        "silent, 10% of the unhappy of both arms, everybody else gives feedback: ships",
    ):
        assert limit(case)["low"] <= 0.05, case
    assert limit("hardest, wrong ends of both")["ours"] <= 0.05
