"""Pair or chain: what the benchmark of cascades chooses."""

from __future__ import annotations

import importlib

import numpy as np

from optimizer.core.search.cascade.thresholds import LeastCost
from tests.rows.policy_records import drawn_records, records_of

choose_chain = importlib.import_module("cascade_logs.chain_choice").choose_chain


def test_a_useless_middle_tier_makes_the_pair_the_better_choice():
    good = drawn_records(1500, 2, loss=0.15)
    rng = np.random.default_rng(3)
    guessed = (rng.random(1500) < 0.5).astype(float)
    records = records_of(
        np.column_stack([good.score[:, 0], guessed, good.score[:, 1]]),
        np.column_stack([good.confidence[:, 0], rng.random(1500), good.confidence[:, 1]]),
        cost_usd=np.tile([1.0, 5.0, 20.0], (1500, 1)),
    )
    choice = choose_chain(records, LeastCost(margin=0.03))
    assert choice.setting is not None
    assert choice.setting.tiers == ("small", "large")
