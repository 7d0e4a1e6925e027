"""Records, the cascade's rule, and replay with its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.core.policy.tiers import KNOBS, stands
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import LOSSES, SHARES, TierRecords, figure, replay
from tests.rows.policy_records import drawn_records, records_of


def test_an_answer_stands_from_its_threshold_on_and_never_without_a_confidence():
    assert stands(0.95, 0.95)
    assert not stands(0.9499, 0.95)
    assert not stands(None, 0.0)


def test_a_cascade_asks_the_next_tier_where_the_answer_does_not_stand_and_pays_for_both():
    records = records_of(score=[[1, 1], [0, 1], [0, 0]], confidence=[[0.9, None], [0.5, None], [None, None]])
    replayed = replay(records, CascadeSetting(tiers=records.tiers, accept=(0.9,)))
    assert replayed.quality.mean == pytest.approx(2 / 3)
    assert replayed.loss.mean == 0
    assert replayed.cost_usd.mean == pytest.approx((1 + 4 + 4) / 3)
    assert replayed.saved_share.mean == pytest.approx(0)
    assert replayed.latency_ms.mean == pytest.approx((100 + 200 + 200) / 3)
    assert [share.mean for share in replayed.answered_share] == pytest.approx([1 / 3, 2 / 3])


def test_a_chain_of_some_tiers_is_measured_against_the_strongest_of_all():
    records = records_of(score=[[0, 1, 1], [0, 0, 1]], confidence=[[0.9, 0.9, None]] * 2)
    replayed = replay(records, CascadeSetting(tiers=("small", "middle"), accept=(0.95,)))
    assert replayed.loss.mean == pytest.approx(0.5)
    assert replayed.saved_share.mean == pytest.approx(1 - (1 + 3) / 9)


def test_a_weight_counts_as_that_many_rows():
    few = records_of(score=[[0, 1], [1, 1]], confidence=[[0.9, None], [0.5, None]], weight=[3, 1])
    many = records_of(score=[[0, 1]] * 3 + [[1, 1]], confidence=[[0.9, None]] * 3 + [[0.5, None]])
    setting = CascadeSetting(tiers=few.tiers, accept=(0.8,))
    assert replay(few, setting).loss.mean == replay(many, setting).loss.mean == pytest.approx(0.75)
    assert replay(few, setting).cost_usd.mean == replay(many, setting).cost_usd.mean
    width = [r.quality.high - r.quality.low for r in (replay(few, setting), replay(many, setting))]
    assert width[0] > width[1]  # one row seen is one row known, whatever it stands for


def test_what_was_not_measured_is_said_not_guessed():
    records = records_of(score=[[1, 1], [1, 1]], confidence=[[0.9, None]] * 2, latency_ms=[[100, np.nan], [100, 100]])
    assert replay(records, CascadeSetting(tiers=records.tiers, accept=(0.95,))).latency_ms is None
    assert replay(records, CascadeSetting(tiers=records.tiers, accept=(0.9,))).latency_ms.mean == 100


def test_no_loss_seen_in_few_records_is_not_no_loss_for_certain():
    losses = [figure(np.zeros(n), np.ones(n), LOSSES) for n in (10, 1000)]
    assert [loss.mean for loss in losses] == [0, 0]
    assert losses[0].high > 0.1
    assert 0 < losses[1].high < 0.005


@pytest.mark.parametrize("truth", [0.02, 0.5, 0.9])
def test_intervals_of_shares_hold_the_truth_about_95_times_in_100(truth):
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(600):
        found = figure((rng.random(120) < truth).astype(float), np.ones(120), SHARES)
        held += found.low <= truth <= found.high
    assert held / 600 > 0.93


def test_intervals_of_cost_saving_and_loss_hold_those_of_all_queries_about_95_times_in_100():
    everything = drawn_records(20_000, 2, seed=2)
    setting = CascadeSetting(tiers=everything.tiers, accept=(0.6,))
    truth = replay(everything, setting)
    rng = np.random.default_rng(6)
    held = np.zeros(4)
    for _ in range(400):
        drawn = replay(everything.take(rng.integers(len(everything), size=300)), setting)
        for at, name in enumerate(("cost_usd", "saved_share", "loss", "latency_ms")):
            one = getattr(drawn, name)
            held[at] += one.low <= getattr(truth, name).mean <= one.high
    assert (held / 400 > 0.92).all()


def test_a_setting_says_itself_as_knobs_of_a_policy():
    setting = CascadeSetting(tiers=("a", "b", "c"), accept=(0.9, 0.8), refine=0.7)
    assert setting.policy() == {"tiers": ["a", "b", "c"], "accept": 0.9, "accept.2": 0.8, "refine": 0.7}
    knobs = {knob.name: knob for knob in KNOBS}
    assert all(knobs[name].fault(value) is None for name, value in setting.policy().items())


def row(score: float = 1.0, **other: object) -> dict[str, object]:
    cheap = {"score": score, "cost_usd": 0.1, "latency_ms": 5.0, "confidence": 0.5, **other}
    return {"tiers": {"a": cheap, "b": {"score": 1, "cost_usd": 1}}}


def test_rows_become_columns_with_what_is_missing_as_nan():
    records = TierRecords.from_rows([row(), {"tiers": {"a": {"score": 0, "cost_usd": 0.2}}}], ["a", "b"])
    assert records.score[0].tolist() == [1, 1]
    assert np.isnan(records.score[1, 1])
    assert np.isnan(records.confidence[:, 1]).all()
    assert records.weight.tolist() == [1, 1]
    assert records.strongest == "b"


def test_a_learned_confidence_takes_the_place_of_a_recorded_one():
    records = records_of(score=[[1, 1], [0, 1]], confidence=[[0.9, None], [0.9, None]])
    learned = records.with_confidence("middle", np.array([0.9, 0.1]))
    setting = CascadeSetting(tiers=records.tiers, accept=(0.5,))
    assert replay(records, setting).loss.mean == 0.5
    assert replay(learned, setting).loss.mean == 0
