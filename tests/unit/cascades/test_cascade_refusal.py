"""No thresholds are safe: ruled out, or not told yet, and then how many more audits would tell."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.core.search.cascade.advice import refusal_of
from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.search.cascade.thresholds import LeastCost, search

GOAL = LeastCost(margin=0.025)


def records(n: int, lost: float, *, sure: float = 0.9, usd: tuple[float, float] = (0.1, 1.0)) -> TierRecords:
    """The strong tier is right, the cheap one wrong on a share,
    as sure of itself wherever it is wrong; evenly spread.
    """
    score = np.ones((n, 2))
    score[np.floor(np.arange(n) * lost) != np.floor((np.arange(n) + 1) * lost), 0] = 0.0
    confidence = np.column_stack([np.full(n, sure), np.ones(n)])
    columns = {"score": score, "confidence": confidence, "cost_usd": np.tile(usd, (n, 1))}
    return TierRecords(tiers=("cheap", "strong"), weight=np.ones(n), latency_ms=np.ones((n, 2)), **columns)


@pytest.mark.parametrize("usd", [(0.1, 1.0), (0.0, 0.0)], ids=["dear", "free"])
def test_a_cheap_tier_that_surely_loses_more_than_is_allowed_is_ruled_out(usd):
    found = refusal_of(records(400, 0.2, usd=usd), GOAL)
    assert found.missing is None
    assert found.reason.startswith(
        "Do not cascade: cheap at accept 0.9 loses 20.00 points, with 90% confidence at least"
    )
    assert found.reason.endswith("2.50 are allowed.")


def test_where_the_bound_alone_is_too_high_it_cannot_tell_and_the_number_named_would_tell():
    few = records(100, 0.01)
    assert search(few, GOAL).setting is None
    found = refusal_of(few, GOAL)
    assert "Do not cascade" not in found.reason
    assert "between" in found.reason
    more = 100 + found.missing
    assert search(records(int(more * 1.15), 0.01), GOAL).setting is not None
    assert search(records(100 + found.missing // 5, 0.01), GOAL).setting is None


def test_a_loss_a_little_above_what_is_allowed_is_not_ruled_out_either_until_so_many_tell():
    found = refusal_of(records(200, 0.04), GOAL)
    more = 200 + found.missing
    assert refusal_of(records(int(more * 1.2), 0.04), GOAL).missing is None


def test_without_a_difference_it_takes_the_records_that_prove_the_margin():
    found = refusal_of(records(50, 0.0), GOAL)
    assert found.missing == 91 - 50


def test_a_tier_that_saves_nothing_needs_no_more_audits_to_be_refused():
    found = refusal_of(records(50, 0.2, usd=(1.0, 1.0)), GOAL)
    assert found.missing is None
    assert "no thresholds save" in found.reason
