"""Which cheap calls are not worth making: every threshold is tried, and one is taken only where it surely saves."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.core.search.cascade.chain_search import best_skip
from optimizer.core.search.cascade.records import TierRecords


def pair(accepted: np.ndarray, cheap_usd: float = 0.2) -> TierRecords:
    n = len(accepted)
    ones = np.ones(n)
    return TierRecords(
        tiers=("cheap", "strong"),
        score=np.ones((n, 2)),
        cost_usd=np.stack([cheap_usd * ones, ones], axis=1),
        latency_ms=np.ones((n, 2)),
        confidence=np.stack([np.where(accepted, 0.9, 0.1), ones], axis=1),
        weight=ones,
    )


def cost(records: TierRecords, before: np.ndarray, skip: float) -> float:
    """The definition, request by request."""
    total = 0.0
    for row in range(len(before)):
        cheap, strong = records.cost_usd[row]
        skipped = before[row] < skip
        total += strong if skipped else cheap if records.confidence[row, 0] >= 0.5 else cheap + strong
    return total


def test_the_threshold_is_the_one_that_costs_least() -> None:
    rng = np.random.default_rng(1)
    before = np.round(rng.random(400), 3)
    records = pair(rng.random(400) < np.where(before < 0.4, 0.02, 0.8))
    found = best_skip(records, 0.5, before)
    tried = {float(at): cost(records, before, float(at)) for at in np.unique(before)}
    assert cost(records, before, found) == pytest.approx(min(tried.values()))
    assert 0.3 < found < 0.5


def test_what_saves_by_luck_alone_is_not_skipped() -> None:
    rng = np.random.default_rng(2)
    before = rng.random(60)
    assert best_skip(pair(rng.random(60) < 0.9), 0.5, before) is None


def test_a_confidence_that_is_the_same_for_all_skips_nothing() -> None:
    assert best_skip(pair(np.zeros(50, dtype=bool)), 0.5, np.full(50, 0.3)) is None
