"""A pair's thresholds in small steps: what they save, what they are predicted to lose,
and in which order they stand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.core.family.variant import Variant
from optimizer.core.search.cascade.cross_fitted import N_STEPS, path_of_pair
from optimizer.core.search.cascade.records import TierRecords, outcome, replay
from optimizer.core.search.cascade.strategy import _champion


def pair(n: int = 200, *, seed: int = 1) -> TierRecords:
    """The cheap tier is right as often as it is sure; the strong one nine times of ten and five times as dear."""
    rng = np.random.default_rng(seed)
    sure = rng.random(n).round(3)
    score = np.column_stack([rng.random(n) < 0.4 + 0.6 * sure, rng.random(n) < 0.9]).astype(float)
    cost = np.column_stack([np.full(n, 1.0), rng.uniform(3, 7, n)])
    confidence = np.column_stack([np.where(rng.random(n) < 0.05, np.nan, sure), np.ones(n)])
    columns = {"score": score, "cost_usd": cost, "latency_ms": np.ones((n, 2)), "confidence": confidence}
    return TierRecords(tiers=("cheap", "strong"), weight=np.ones(n), **columns)


FOLDS = [row % 5 for row in range(200)]


def test_the_path_goes_from_accepting_whatever_is_known_down_in_even_steps_of_what_is_saved():
    records = pair()
    path = path_of_pair(records, FOLDS)
    assert path[0].setting.accept == (float(np.nanmin(records.confidence[:, 0])),)
    saved = np.array([one.saved_fitted for one in path])
    assert (np.diff(saved) < 0).all()
    dearest = records.cost_usd[:, 1].max() / records.cost_usd[:, 1].sum()  # one more row accepted saves at most this
    assert -np.diff(saved).min() <= (saved[0] + 1) / N_STEPS + dearest


def test_what_is_saved_beside_the_champion_counts_each_row_by_its_weight():
    dear = np.repeat([1.0, 0.01], [40, 20])
    records = TierRecords(
        tiers=("cheap", "strong"),
        weight=np.repeat([1.0, 50.0], [40, 20]),
        score=np.ones((60, 2)),
        cost_usd=np.column_stack([0.8 * dear, dear]),
        latency_ms=np.ones((60, 2)),
        confidence=np.column_stack([np.linspace(0.5, 0.9, 60), np.ones(60)]),
    )
    champion = _champion(
        Variant(messages=({"role": "user", "content": "{{x}}"},), model={"name": "strong"}), records, ()
    )
    boldest = path_of_pair(records, FOLDS[:60])[0]
    saved = replay(records, boldest.setting).saved_share.mean
    assert 1 - boldest.cost_usd / champion.cost_usd == pytest.approx(saved, abs=0.03)  # the parts are fitted apart


def test_what_a_step_did_on_the_records_is_what_its_setting_does_there():
    records = pair()
    for one in path_of_pair(records, FOLDS)[::10]:
        happened = outcome(records, one.setting)
        assert one.saved_fitted == pytest.approx(1 - happened.cost_usd.mean() / records.cost_usd[:, 1].mean())
        assert one.loss_fitted == pytest.approx((records.score[:, 1] - happened.score).mean())


def test_a_bolder_step_is_predicted_to_lose_no_less_and_to_cost_less():
    path = path_of_pair(pair(), FOLDS)
    assert (np.diff([one.loss for one in path]) <= 0).all()
    assert path[0].cost_usd < path[-1].cost_usd


def test_what_is_predicted_of_a_part_comes_from_the_other_parts_alone():
    """All rows of a part wrong at its own scores: thresholds are as before,
    and the prediction pays for exactly these rows.
    """
    records = pair()
    spoilt = records.score.copy()
    spoilt[np.array(FOLDS) == 0, 0] = 0.0
    before, after = (path_of_pair(each, FOLDS) for each in (records, replace(records, score=spoilt)))
    assert [one.setting for one in before] == [one.setting for one in after]
    assert [one.cost_usd for one in before] == [one.cost_usd for one in after]
    known = ~np.isnan(records.confidence[:, 0])
    boldest = (records.score[:, 1] - spoilt[:, 0])[known].sum() / 200
    assert after[0].loss >= boldest - 0.02  # the other parts' lowest confidence leaves out a row or two


def test_a_step_that_no_row_tells_apart_is_named_once():
    records = pair(6)
    path = path_of_pair(records, [0, 1, 2, 0, 1, 2])
    assert len({one.setting for one in path}) == len(path) <= 6


def test_where_no_confidence_is_known_there_is_no_step():
    records = pair(20).with_confidence("cheap", np.full(20, np.nan))
    assert path_of_pair(records, [row % 5 for row in range(20)]) == []
