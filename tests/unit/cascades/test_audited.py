"""Estimates from production records, in which only audits ask all tiers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.core.search.cascade.exploration import Audits, audit_cost, complete_records, estimate
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords, answering_tier, replay as replayed
from tests.rows.policy_records import drawn_records

SERVED = (0.4, 0.7)  # what production accepts while the records are made


def without(records: TierRecords, unknown: np.ndarray) -> TierRecords:
    names = ("score", "cost_usd", "latency_ms", "confidence")
    return replace(records, **{name: np.where(unknown, np.nan, getattr(records, name)) for name in names})


def production(everything: TierRecords, audit_share: float, rng: np.random.Generator):
    """What is left of complete records when production stops where an answer stands and audits a share."""
    asked = answering_tier(everything.confidence, SERVED)
    audited = rng.random(len(everything)) < audit_share
    unknown = (np.arange(3) > asked[:, None]) & ~audited[:, None]
    audits = Audits(asked_up_to=asked, scored_up_to=asked, audited=audited, share=np.full(len(everything), audit_share))
    return without(everything, unknown), audits


@pytest.mark.parametrize(
    "accept", [(0.4, 0.7), (0.7, 0.9), (0.2, 0.3), (0.6, 0.2)], ids=["as served", "stricter", "laxer", "both"]
)
def test_estimates_are_unbiased_and_their_intervals_honest_for_any_setting(accept):
    everything = drawn_records(1500, 3, seed=4, loss=0.6)
    setting = CascadeSetting(tiers=everything.tiers, accept=accept)
    truth = replayed(everything, setting)
    rng = np.random.default_rng(7)
    names = ("quality", "cost_usd", "loss", "quality_unbiased", "cost_usd_unbiased")
    found = []
    for _ in range(150):
        drawn = everything.take(rng.integers(len(everything), size=1500))
        records, audits = production(drawn, 0.1, rng)
        one = estimate(records, setting, audits)
        found.append([getattr(one, name) for name in names])
    for at, name in enumerate(names):
        true = getattr(truth, name.removesuffix("_unbiased")).mean
        means = np.array([row[at].mean for row in found])
        error = means.std() / np.sqrt(len(means))
        assert abs(means.mean() - true) < 4 * error + 1e-12, name
        assert np.mean([row[at].low <= true <= row[at].high for row in found]) > 0.91, name


def test_leaving_the_weights_out_would_be_wrong():
    everything = drawn_records(20_000, 3, seed=4, loss=0.9)
    records, audits = production(everything, 0.1, np.random.default_rng(1))
    setting = CascadeSetting(tiers=everything.tiers, accept=(0.7, 0.9))
    found, truth = estimate(records, setting, audits), replayed(everything, setting).quality.mean
    assert found.quality.low <= truth <= found.quality.high
    complete = complete_records(records, audits)
    unweighted = replayed(replace(complete, weight=np.ones(len(complete))), setting).quality.mean
    assert abs(unweighted - truth) > 3 * abs(found.quality.mean - truth)


def test_a_setting_that_production_can_answer_for_needs_no_audits():
    everything = drawn_records(500, 3)
    records, audits = production(everything, 0.02, np.random.default_rng(1))
    setting = CascadeSetting(tiers=everything.tiers, accept=(0.1, 0.5))
    found, truth = estimate(records, setting, audits), replayed(everything, setting)
    assert found.n_known == found.n_records == 500
    assert found.quality.mean == pytest.approx(truth.quality.mean)
    assert found.cost_usd_unbiased.mean == pytest.approx(truth.cost_usd.mean)


def test_complete_records_stand_for_all_requests():
    everything = drawn_records(20_000, 3)
    records, audits = production(everything, 0.05, np.random.default_rng(2))
    kept = complete_records(records, audits)
    assert kept.weight.sum() == pytest.approx(20_000, rel=0.05)
    setting = CascadeSetting(tiers=everything.tiers, accept=(0.8, 0.8))
    assert replayed(kept, setting).quality.mean == pytest.approx(replayed(everything, setting).quality.mean, abs=0.02)


def test_the_price_of_audits_is_told_before_any_is_made():
    everything = drawn_records(5000, 3)
    setting = CascadeSetting(tiers=everything.tiers, accept=SERVED)
    price = audit_cost(everything, setting, 0.02)
    records, audits = production(everything, 0.02, np.random.default_rng(3))
    spent = np.nansum(records.cost_usd) / 5000
    usual = replayed(everything, setting).cost_usd.mean
    assert price.extra_usd.mean == pytest.approx(spent - usual, rel=0.2)
    assert price.extra_share == pytest.approx(price.extra_usd.mean / usual)
    assert "of what these cost without it." in price.in_words
    assert "without it" not in replace(price, extra_share=0.0).in_words, "no share of nothing"
    assert price.extra_usd.low < price.extra_usd.mean < price.extra_usd.high
    assert audits.audited.any()


def test_without_audits_what_was_not_asked_stays_unknown():
    everything = drawn_records(50, 3)
    records, audits = production(everything, 0.1, np.random.default_rng(1))
    setting = CascadeSetting(tiers=everything.tiers, accept=(0.5, 0.5))
    first = np.zeros(50, dtype=int)
    none = replace(audits, audited=np.zeros(50, dtype=bool), asked_up_to=first, scored_up_to=first)
    assert estimate(without(records, np.arange(3) > 0), setting, none).loss is None
