"""The search's rules, its sentences, and how often the confident one is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.search.cascade.chain_search import search_chain
from optimizer.core.search.cascade.cross_fitted import (
    CAUTION,
    best_thresholds,
    folds_by_group,
    folds_of,
    loss_path,
    setting_of,
)
from optimizer.core.search.cascade.records import replay
from optimizer.core.search.cascade.sweep import NEVER, Limit, curve, last_in_sequence
from optimizer.core.search.cascade.thresholds import LeastCost, bound_of, search
from tests.rows.policy_records import drawn_records, records_of


def graded(n: int, *, lost: dict[float, int]) -> list[tuple[float, bool]]:
    """``n`` confidences from 1 downwards; at those named so many of the first are lost."""
    grades = sorted(lost, reverse=True)
    rows = []
    for grade in grades:
        rows += [(grade, at < lost[grade]) for at in range(n // len(grades))]
    return rows


def pair_of(rows):
    return records_of(score=[[0 if bad else 1, 1] for _, bad in rows], confidence=[[c, None] for c, _ in rows])


def test_it_takes_what_the_records_prove_though_they_allow_more():
    records = pair_of(graded(1000, lost={1.0: 0, 0.9: 2, 0.8: 6, 0.7: 40}))
    confident = search(records, LeastCost())
    allowed = best_thresholds(records, [Limit(most=0.01)])[0]
    assert allowed == (0.8,)
    assert confident.setting.accept == (0.9,)
    assert confident.loss_upper < 0.01 < bound_of(records, setting_of(records.tiers, allowed))
    assert "With 90% confidence it loses at most 1.00" in confident.reason


def test_the_sequence_ends_at_the_first_threshold_that_fails_even_if_a_later_one_would_pass():
    upper = np.array([0.0, 0.004, 0.011, 0.009])
    assert last_in_sequence(upper, 0.01) == 1
    assert last_in_sequence(upper, 0.02) == 3
    assert last_in_sequence(upper, -0.01) == -1


def test_if_nothing_cheaper_is_safe_it_says_so_and_why():
    records = pair_of(graded(400, lost={1.0: 40, 0.5: 100}))
    found = search(records, LeastCost())
    assert found.setting is None
    assert found.replay is None
    assert found.reason.startswith("Do not cascade: where middle is surest (50 % of the queries) it loses 10.00 points")
    assert "1.00 are allowed" in found.reason


def test_a_cascade_that_would_cost_more_than_the_strongest_alone_is_refused():
    records = records_of(score=[[1, 1]] * 400, confidence=[[1.0 if at < 10 else None, None] for at in range(400)])
    assert "alone costs" in search(records, LeastCost()).reason
    assert search(records, LeastCost()).setting is None


@pytest.mark.parametrize(
    ("cheap_score", "cheap_ms", "answers"),
    [(1, 200.0, True), (0, 20.0, False), (None, 20.0, True), (None, 200.0, False)],
    ids=["better", "worse", "as good and quicker", "as good and slower"],
)
def test_where_no_model_has_a_price_the_first_tier_answers_if_it_is_better_or_quicker(cheap_score, cheap_ms, answers):
    n = 400
    strong = [at % 2 if cheap_score is not None else 1 for at in range(n)]
    records = records_of(
        score=[[1 if cheap_score is None else cheap_score, strong[at]] for at in range(n)],
        confidence=[[0.9, None]] * n,
        cost_usd=[[0.0, 0.0]] * n,
        latency_ms=[[cheap_ms, 100.0]] * n,
    )
    found = search(records, LeastCost(exact=True))
    assert (found.setting is not None) == answers, found.reason
    assert not answers or found.replay.answered_share[0].mean == 1.0


def test_few_records_come_with_a_warning():
    found = search(pair_of(graded(150, lost={1.0: 0})), LeastCost())
    assert "150 records are few; an exact test would ask for 230 without a single loss" in found.reason
    assert "few" not in search(pair_of(graded(300, lost={1.0: 0})), LeastCost()).reason


def test_weights_of_few_audits_are_few_records():
    records = pair_of(graded(400, lost={1.0: 0}))
    weighted = records_of(records.score, records.confidence, weight=[50.0] * 60 + [1.0] * 340)
    assert curve(weighted).upper[1] > curve(records).upper[1]
    assert "few" in search(weighted, LeastCost()).reason


def test_a_router_that_knows_its_confidence_before_the_call_pays_for_one_tier_only():
    records = drawn_records(300, 2)
    after, before = curve(records), curve(records, before_call=True)
    assert before.loss.tolist() == after.loss.tolist()
    assert before.cost_usd[0] == pytest.approx(3)
    assert after.cost_usd[0] == pytest.approx(4)


def test_one_tier_and_five_tiers_are_refused():
    with pytest.raises(InvalidInput, match="cascade of 1 tiers"):
        search(drawn_records(10, 2).chain(["large"]), LeastCost())


def test_a_chain_is_judged_on_the_parts_it_was_not_fitted_to():
    records = drawn_records(400, 3)
    path = loss_path(records, folds_of(len(records), None), 0.05, 0.9)
    assert len(path.upper) == len(CAUTION)
    assert path.upper[path.held] <= 0.05
    assert path.held + 1 == len(CAUTION) or path.upper[path.held + 1] > 0.05
    assert search(records, LeastCost(margin=0.05)).loss_upper == path.held_upper
    refused = loss_path(drawn_records(60, 3, loss=0.9), folds_of(60, None), 0.001, 0.9)
    assert refused.chosen == (NEVER, NEVER)


def test_a_chain_that_no_part_of_the_records_tested_is_not_used():
    """120 records without a loss are within a caution that 96 of them are not: nothing was answered out of sample."""
    clean = [1.0 - at / 1000 for at in range(120)]
    found = search(records_of(score=[[1, 1, 1]] * 120, confidence=[[c, c, None] for c in clean]), LeastCost())
    assert found.setting is None, found.reason
    assert found.reason.startswith("Do not cascade: no thresholds of small > middle > large keep the loss within 1.00")


def test_what_all_records_prove_is_predicted_to_save_though_four_fifths_prove_nothing():
    """No record is lost: the bound says .0228 of all 100, and .0284 of the 80 that judge a part."""
    confidence = [[1.0 - at / 1000, None] for at in range(100)]
    records = records_of(score=np.ones((100, 2)), confidence=confidence, cost_usd=np.tile([0.1, 1.0], (100, 1)))
    found = search_chain(records, 0.025, None, [at % 5 for at in range(100)], in_steps=False).boldest
    assert found.saved_fitted == pytest.approx(0.9)
    assert (1 - found.cost_usd, found.loss) == (pytest.approx(0.9, abs=0.02), 0.0)


@pytest.mark.parametrize("n_tiers", [2, 3])
def test_what_is_predicted_to_be_saved_and_lost_is_saved_and_lost_on_other_records(n_tiers):
    everything, folds = drawn_records(10_000, n_tiers, seed=9, loss=0.25), [at % 5 for at in range(200)]
    rng, errors = np.random.default_rng(11), []
    for _ in range(20):
        drawn = everything.take(rng.choice(len(everything), size=200, replace=False))
        found = search_chain(drawn, 0.1, None, folds, in_steps=False).boldest
        happened = replay(everything, found.setting)
        saved = 1 - found.cost_usd / drawn.mean(drawn.cost_usd[:, -1])
        errors.append((saved - happened.saved_share.mean, found.loss - happened.loss.mean))
    assert np.mean(errors, axis=0) == pytest.approx([0, 0], abs=0.02)


def test_rows_of_one_group_are_in_one_part_and_groups_are_dealt_out_in_turn():
    assert folds_by_group("uuvwuxyz") == [0, 0, 1, 2, 0, 3, 4, 0]


def test_it_is_wrong_in_at_most_a_tenth_of_draws_where_without_the_bound_it_is_in_about_half():
    everything = drawn_records(10_000, 2, seed=9, loss=0.25)
    wrong = wrong_without = 0
    rng = np.random.default_rng(10)
    for _ in range(100):
        drawn = everything.take(rng.integers(len(everything), size=600))
        setting = search(drawn, LeastCost(margin=0.02)).setting
        without = setting_of(drawn.tiers, best_thresholds(drawn, [Limit(most=0.02)])[0])
        wrong += setting is not None and replay(everything, setting).loss.mean > 0.02
        wrong_without += without is not None and replay(everything, without).loss.mean > 0.02
    assert wrong <= 10 + 2 * np.sqrt(9)  # two standard errors of 100 draws at .1
    assert wrong_without > 30
