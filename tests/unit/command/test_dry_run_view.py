"""How a dry run is told to people."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from optimizer.cli.study.view import view_estimate
from optimizer.core.base.values import Spread
from optimizer.core.search.cost_estimate import CostEstimate, EstimateTotals
from tests.worlds.study_world import topic_family

FAMILY = topic_family(name="triage")

CALLS, MINUTES = Spread(low=169, expected=1234.4, high=25000), Spread(low=0.228, expected=1.73, high=8.09)


def estimate(**changes: Any) -> CostEstimate:
    totals = {"calls": CALLS, "usd": None, "minutes": MINUTES}
    of_search = {"n_trials": 20, "parts": {"champion": Spread(low=20, expected=20, high=20)}}
    of_confirmation = {"n_confirmation_calls": 38, "reserved_usd": None, "longest_request_bytes": 100}
    given = {**totals, **of_search, **of_confirmation, "without_a_cap": EstimateTotals(**totals)}
    return CostEstimate(**{**given, **changes})


def told_of(made: CostEstimate, again: str = "") -> str:
    out = io.StringIO()
    view_estimate(Console(file=out, width=200), FAMILY, made, again)
    return out.getvalue()


def test_numbers_of_calls_are_written_as_people_write_them() -> None:
    told = told_of(estimate(), "--strategy replay --aim cost")
    assert "1234 expected (169 to 25000)" in told
    assert "1.73 expected (0.228 to 8.09)" in told
    assert "Next      detent study run triage --strategy replay --aim cost --budget-calls 25000" in told


def test_a_budget_that_may_cut_a_part_is_told_with_the_cap_that_cuts_none() -> None:
    told = told_of(estimate(no_sure_turn=("settings",), enough={"calls": 25000}))
    assert "cut by the budget: settings may have no turn, if what comes before takes its most" in told
    assert "enough for all of these trials: --budget-calls 25000 (expected: 1234 calls)" in told
    assert "cut by" not in told_of(estimate())


def test_what_is_to_be_said_of_the_rows_stands_before_the_next_command() -> None:
    told = told_of(estimate(remarks=["100 train examples not released.", "50 rows look alike."]))
    assert "Note      100 train examples not released.\nNote      50 rows look alike.\nNext" in told
