"""Exact search finds what brute force finds, whatever the records: ties, weights,
confidences that were not recorded.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from optimizer.core.policy.tiers import stands
from optimizer.core.search.cascade.cross_fitted import best_thresholds, setting_of, shares_of, thresholds_at
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords, replay
from optimizer.core.search.cascade.sweep import NEVER, Limit, curve, last_in_sequence
from optimizer.core.search.cascade.thresholds import LeastCost, bound_of, search
from tests.examples import n_examples
from tests.rows.policy_records import every_setting, small_records

margins = st.sampled_from([-0.1, 0.0, 0.01, 0.1, 0.3, 1.0])


def means_of(records: TierRecords, setting: CascadeSetting | None) -> tuple[float, float]:
    """Cost and loss; None: the strongest alone."""
    if setting is None:
        return float(records.weight @ records.cost_usd[:, -1] / records.weight.sum()), 0.0
    replayed = replay(records, setting)
    return replayed.cost_usd.mean, replayed.loss.mean


@given(st.integers(2, 3).flatmap(small_records), margins)
def test_the_least_cost_within_the_margin_is_that_of_brute_force(records, margin):
    allowed = [cost for _, cost, loss in every_setting(records) if loss <= margin + 1e-9]
    found = best_thresholds(records, [Limit(most=margin)])[0]
    assert (found is None) == (not allowed)
    if found is not None:
        cost, loss = means_of(records, setting_of(records.tiers, found))
        assert cost == pytest.approx(min(allowed), abs=1e-9)
        assert loss <= margin + 1e-9


@given(small_records(3), margins, st.sampled_from([0.5, 1.28, 3.0]))
def test_a_cautious_search_keeps_the_standard_errors_within_the_margin(records, margin, z):
    cautious, plain = (best_thresholds(records, [Limit(most=margin, z=one)])[0] for one in (z, 0.0))
    if cautious is not None:
        assert plain is not None
        assert (
            means_of(records, setting_of(records.tiers, cautious))[0]
            >= means_of(records, setting_of(records.tiers, plain))[0] - 1e-9
        )


@settings(max_examples=n_examples(15))
@given(small_records(4, most=5), margins)
def test_a_chain_of_four_is_within_the_margin_and_no_dearer_than_any_chain_of_three(records, margin):
    found = best_thresholds(records, [Limit(most=margin)])[0]
    shorter = [
        cost
        for setting, cost, loss in every_setting(records)
        if loss <= margin + 1e-9 and (setting is None or len(setting.tiers) < 4)
    ]
    assert (found is not None) or not shorter
    if found is not None:
        cost, loss = means_of(records, setting_of(records.tiers, found))
        assert loss <= margin + 1e-9
        assert cost <= min(shorter, default=cost) + 1e-9


@given(small_records(2))
def test_the_curve_shows_every_threshold_as_its_own_replay_does(records):
    swept = curve(records)
    distinct = {float(x) for x in records.confidence[:, 0] if not np.isnan(x)}
    assert list(swept.threshold[1:]) == sorted(distinct, reverse=True)
    for at in range(1, len(swept.threshold)):
        setting = CascadeSetting(tiers=records.tiers, accept=(float(swept.threshold[at]),))
        replayed = replay(records, setting)
        assert swept.loss[at] == pytest.approx(replayed.loss.mean, abs=1e-9)
        assert swept.cost_usd[at] == pytest.approx(replayed.cost_usd.mean, abs=1e-9)
        assert swept.answered_share[at] == pytest.approx(replayed.answered_share[0].mean, abs=1e-9)
        assert swept.upper[at] == pytest.approx(bound_of(records, setting), abs=1e-9)


@given(small_records(3), st.tuples(*[st.sampled_from([0.0, 0.2, 0.5, 1.0])] * 2))
def test_replay_follows_the_rule_for_one_record(records, accept):
    replayed = replay(records, CascadeSetting(tiers=records.tiers, accept=accept))
    share = records.weight / records.weight.sum()
    cost = quality = 0.0
    for row in range(len(records)):
        for tier in range(3):
            cost += share[row] * records.cost_usd[row, tier]
            confidence = None if np.isnan(records.confidence[row, tier]) else float(records.confidence[row, tier])
            if tier == 2 or stands(confidence, accept[tier]):
                quality += share[row] * records.score[row, tier]
                break
    assert replayed.cost_usd.mean == pytest.approx(cost, abs=1e-9)
    assert replayed.quality.mean == pytest.approx(quality, abs=1e-9)


@given(st.integers(2, 3).flatmap(small_records), st.sampled_from([0.01, 0.2, 0.6]))
def test_the_confident_rule_never_proposes_what_costs_more_than_the_strongest_alone(records, margin):
    found = search(records, LeastCost(margin=margin))
    if found.setting is None:
        assert found.reason.startswith("Do not cascade")
    else:
        cost, alone = means_of(records, found.setting)[0], means_of(records, None)[0]
        if alone:
            assert cost < alone or (cost == pytest.approx(alone) and found.replay.loss.mean < 0)
        else:  # where all is free it is better, or quicker
            strongest_ms = np.average(records.latency_ms[:, -1], weights=records.weight)
            assert cost == 0
            assert found.replay.loss.mean < 0 or found.replay.latency_ms.mean < strongest_ms
    if found.setting is not None and len(records.tiers) == 2:
        assert found.loss_upper <= margin + 1e-9


@given(small_records(2), st.sampled_from([0.01, 0.2, 0.6]))
def test_for_a_pair_the_sequence_ends_before_the_first_bound_above_the_margin(records, margin):
    upper = curve(records).upper
    at = last_in_sequence(upper, margin)
    assert all(x <= margin + 1e-9 for x in upper[: at + 1])
    assert at + 1 == len(upper) or upper[at + 1] > margin


@given(small_records(3), st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0, NEVER]), min_size=2, max_size=2))
def test_thresholds_at_the_shares_of_others_answer_as_much(records, accept):
    shares = shares_of(records, accept)
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
    assert shares_of(records, thresholds_at(records, shares)) == pytest.approx(shares)
    assert thresholds_at(records, [0.0, 0.0]) == (NEVER, NEVER)
