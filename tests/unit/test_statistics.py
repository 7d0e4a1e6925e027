"""Rollout statistics against slow computations that share no code with them, and known cases."""

from __future__ import annotations

from functools import reduce
from itertools import product
from math import comb, exp, inf, log, prod

import pytest

from optimizer.core.statistics.block_evalue import bernoulli_bet, bounded_bet, log_e, ratio_bet
from optimizer.core.statistics.drift import DriftDetector, reference_mean, weekly_dip
from optimizer.core.statistics.forecast import (
    KAPPA_90,
    TrafficRate,
    assumed_lift,
    candidate_requests_to_alarm,
    forecast,
    gate_growth,
    smallest_feasible_margin,
)
from optimizer.core.statistics.guardrails import Guardrail
from optimizer.core.statistics.hard_stop import FailureRun
from optimizer.core.statistics.interval import running_intervals
from optimizer.core.statistics.mixture import Evidence, log_sum_exp, threshold
from optimizer.core.statistics.outcomes import Block, Outcomes, Sums
from optimizer.core.statistics.plug_in import PlugIn
from optimizer.core.statistics.projection import null_projection
from optimizer.core.statistics.quality_gate import QualityGate, margin_needed
from optimizer.core.statistics.sample_ratio import is_silent, label_rates_differ, sample_ratio_log_e
from optimizer.core.statistics.stopping_rule import Standing, shown, stopping_rule
from tests.selection import max_bias, shrink_best

LADDER = (0.10, 0.25, 0.50, 0.75)


def block(n_c: int, s_c: int, n_b: int, s_b: int, *, stage: int = 0) -> Block:
    return Block(stage=stage, candidate=Outcomes.binary(n_c, s_c), champion=Outcomes.binary(n_b, s_b))


def scores(c: list[float], b: list[float]) -> Block:
    return Block(stage=0, candidate=Outcomes.of(c), champion=Outcomes.of(b))


def slow_kl(p: float, q: float) -> float:
    return sum(a * (log(a) - log(b)) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)


class TestNullProjection:
    @pytest.mark.parametrize(
        ("theta_c", "theta_b", "w", "d0"),
        [
            (0.8, 0.8, 0.5, -0.05),
            (0.95, 0.8, 0.1, -0.15),
            (0.02, 0.01, 0.1, -0.05),
            (0.99, 0.5, 0.9, 0.3),
            (0.1, 0.999, 0.25, 0.0),
        ],
    )
    def test_no_other_point_of_the_null_is_nearer(self, theta_c, theta_b, w, d0):
        found = null_projection(theta_c, theta_b, w=w, d0=d0)

        def distance(m_b: float) -> float:
            return w * slow_kl(theta_c, m_b + d0) + (1 - w) * slow_kl(theta_b, m_b)

        low, high = max(0.0, -d0), min(1.0, 1.0 - d0)
        for _ in range(6):  # brute force: a grid, then a finer one around the best point
            grid = [low + (high - low) * (i + 0.5) / 400 for i in range(400)]
            best = min(grid, key=distance)
            step = (high - low) / 400
            low, high = best - step, best + step
        assert found.m_b == pytest.approx(best, abs=1e-6)
        assert found.growth == pytest.approx(distance(best), abs=1e-10)
        assert found.m_c - found.m_b == pytest.approx(d0, abs=1e-12)

    def test_an_alternative_on_the_line_is_its_own_projection_and_grows_nothing(self):
        found = null_projection(0.75, 0.8, w=0.3, d0=-0.05)
        assert (found.m_c, found.m_b, found.growth) == pytest.approx((0.75, 0.8, 0.0), abs=1e-9)

    @pytest.mark.parametrize("bad", [{"w": 0.0}, {"w": 1.0}, {"theta_c": 1.0}, {"theta_b": 0.0}, {"d0": 1.0}])
    def test_rates_and_shares_at_the_edge_are_refused(self, bad):
        arguments = {"theta_c": 0.8, "theta_b": 0.8, "w": 0.5, "d0": 0.0, **bad}
        with pytest.raises(ValueError, match="lie in"):
            null_projection(arguments["theta_c"], arguments["theta_b"], w=arguments["w"], d0=arguments["d0"])


class TestBlockEvalue:
    def test_a_bernoulli_bet_is_the_likelihood_ratio_of_its_two_points(self):
        bet = bernoulli_bet(theta_c=0.85, theta_b=0.8, w=0.5, d0=-0.05)
        point = null_projection(0.85, 0.8, w=0.5, d0=-0.05)
        ratio = (
            3 * log(0.85 / point.m_c)
            + log(0.15 / (1 - point.m_c))
            + 2 * log(0.8 / point.m_b)
            + 2 * log(0.2 / (1 - point.m_b))
        )
        assert log_e(bet, block(4, 3, 4, 2)) == pytest.approx(ratio)

    @pytest.mark.parametrize("shape", ["two points", "spread", "at the ends"])
    def test_the_mean_of_e_is_at_most_one_for_scores_on_the_nulls_line_by_enumeration(self, shape):
        values = {"two points": (0.3, 0.9), "spread": (0.1, 0.5, 0.8), "at the ends": (0.0, 1.0)}[shape]
        chances = {"two points": (0.4, 0.6), "spread": (0.3, 0.3, 0.4), "at the ends": (0.35, 0.65)}[shape]
        mean = sum(v * p for v, p in zip(values, chances, strict=True))
        bet = bounded_bet(theta_c=mean + 0.1, theta_b=mean, d0=0.0, w=0.4, var_c=0.02, var_b=0.05)
        expected = 0.0
        for drawn in product(range(len(values)), repeat=5):  # two units of the candidate, three of the champion
            ys = [values[i] for i in drawn]
            expected += prod(chances[i] for i in drawn) * exp(log_e(bet, scores(ys[:2], ys[2:])))
        assert 0.5 < expected <= 1 + 1e-12

    def test_the_mean_of_a_cost_e_is_at_most_one_where_the_ratio_is_exactly_allowed(self):
        bet = ratio_bet(mu_b=0.2, q=1.7, k=1.1, w=0.5, var_c=0.03, var_b=0.02)
        expected = 0.0
        for c1, c2, b1, b2 in product((0, 1), repeat=4):  # costs of 0 or the cap: means .22 and .20
            chance = prod(0.22 if y else 0.78 for y in (c1, c2)) * prod(0.2 if y else 0.8 for y in (b1, b2))
            expected += chance * exp(log_e(bet, scores([c1, c2], [b1, b2])))
        assert 0.5 < expected <= 1 + 1e-12

    def test_scores_that_only_take_the_ends_count_as_successes_do(self):
        bet = bernoulli_bet(theta_c=0.7, theta_b=0.8, w=0.5, d0=0.0)
        assert log_e(bet, scores([0, 1, 1], [1, 1, 0])) == pytest.approx(log_e(bet, block(3, 2, 3, 2)))

    def test_low_variance_scores_gain_more_from_the_bet_that_knows_their_variance(self):
        found = scores([0.80, 0.75, 0.85, 0.78, 0.82] * 4, [0.80, 0.78, 0.82, 0.75, 0.85] * 4)
        aware = bounded_bet(theta_c=0.8, theta_b=0.8, d0=-0.05, w=0.5, var_c=0.0025, var_b=0.0025)
        blind = bernoulli_bet(theta_c=0.8, theta_b=0.8, w=0.5, d0=-0.05)
        assert log_e(aware, found) > 3 * log_e(blind, found) > 0

    def test_where_the_nulls_line_leaves_the_square_nothing_is_staked(self):
        bet = bounded_bet(theta_c=0.001, theta_b=0.01, d0=-0.15, w=0.5, var_c=0.01, var_b=0.01)
        assert log_e(bet, scores([0.0, 1.0], [0.5])) == 0.0


class TestOutcomes:
    def test_sums_of_parts_are_the_sums_of_the_whole(self):
        whole = Outcomes.of([0.1, 0.4, 0.4, 1.0])
        parts = Outcomes.of([0.4, 1.0]) + Outcomes.of([0.1, 0.4])
        assert parts == whole
        assert parts.sums == Sums(n=4, total=pytest.approx(1.9), squares=pytest.approx(1.33))

    @pytest.mark.parametrize("bad", [[1.2], [-0.1], [float("nan")]])
    def test_an_outcome_outside_zero_to_one_is_refused(self, bad):
        with pytest.raises(ValueError, match="lie in"):
            Outcomes.of(bad)

    def test_more_successes_than_outcomes_are_refused(self):
        with pytest.raises(ValueError, match="between 0"):
            Outcomes.binary(3, 4)

    def test_blocks_of_two_stages_are_never_merged(self):
        with pytest.raises(ValueError, match="never merged"):
            _ = block(1, 1, 1, 1, stage=0) + block(1, 1, 1, 1, stage=1)


class TestPlugIn:
    def test_after_one_half_life_earlier_outcomes_count_half(self):
        known = (
            PlugIn(prior_mean=0.5, prior_n=0.0001, half_life=100)
            .after(Outcomes.binary(100, 100))
            .after(Outcomes.binary(100, 0))
        )
        assert known.mean == pytest.approx(50 / 150, abs=1e-5)

    def test_variance_is_that_of_the_outcomes_and_never_zero(self):
        known = PlugIn(prior_mean=0.7, prior_n=0.0001, half_life=None)
        assert known.after(Outcomes.of([0.6, 0.8] * 500)).variance == pytest.approx(0.01, abs=1e-4)
        assert known.after(Outcomes.of([0.7] * 500)).variance == 0.02**2

    def test_a_mean_stays_away_from_the_ends(self):
        assert PlugIn(prior_mean=0.0).mean == 0.001
        assert PlugIn(prior_mean=1.0).after(Outcomes.binary(100, 100)).mean == 0.999


class TestMixture:
    def test_the_mixture_is_the_weighted_sum_of_products(self):
        evidence = Evidence.none((0.6, 0.4)).after((0.5, -1.0)).after((0.25, 2.0))
        assert exp(evidence.log_e) == pytest.approx(0.6 * exp(0.75) + 0.4 * exp(1.0))

    def test_the_peak_is_kept_when_the_evidence_falls_again(self):
        evidence = Evidence.none((1.0,)).after((3.0,)).after((-5.0,))
        assert (evidence.log_e, evidence.peak) == (-2.0, 3.0)

    def test_large_exponents_do_not_overflow(self):
        assert log_sum_exp([2000.0, 2000.0]) == pytest.approx(2000 + log(2))


def after_all(gate, blocks):
    return reduce(lambda so_far, each: so_far.after(each), blocks, gate)


class TestQualityGate:
    start = QualityGate.start(margin=0.05, champion_mean=0.8)

    def test_a_block_with_one_arm_empty_waits_for_the_next_of_its_stage(self):
        waited = self.start.after(block(0, 0, 40, 33)).after(block(5, 4, 35, 28))
        assert waited == self.start.after(block(5, 4, 75, 61))

    def test_a_waiting_block_is_dropped_when_the_stage_changes(self):
        waited = self.start.after(block(0, 0, 40, 3)).after(block(5, 4, 35, 28, stage=1))
        assert waited == self.start.after(block(5, 4, 35, 28, stage=1))

    def test_fewer_than_ten_labels_wait(self):
        assert self.start.after(block(1, 1, 8, 7)).n_blocks == 0
        assert self.start.after(block(1, 1, 9, 7)).n_blocks == 1

    def test_labels_are_counted_per_stage_and_in_all(self):
        gate = after_all(self.start, [block(5, 4, 35, 28), block(5, 4, 35, 28), block(10, 8, 30, 25, stage=1)])
        assert (gate.labelled, gate.labelled_in_stage) == (120, 40)

    def test_the_rate_used_on_a_block_was_known_before_it(self):
        """The same block with other outcomes is judged against the same expectation."""
        assert self.start.after(block(5, 0, 35, 0)).champion.mean < self.start.champion.mean
        bad, good = self.start.after(block(5, 0, 35, 28)), self.start.after(block(5, 5, 35, 28))
        assert bad.champion == good.champion
        assert bad.of("roll").log_e > 0 > good.of("roll").log_e

    def test_a_candidate_twenty_points_worse_is_caught_and_an_equal_one_is_shipped(self):
        worse = after_all(self.start, [block(20, 12, 20, 16)] * 12)
        equal = after_all(self.start, [block(20, 16, 20, 16)] * 60)
        assert worse.peaks["roll"] >= threshold(0.03)
        assert equal.peaks["ship1"] >= threshold(0.05)
        assert equal.peaks["roll"] < threshold(0.03)
        assert not equal.says_better

    def test_better_is_said_only_when_not_better_is_rejected(self):
        assert after_all(self.start, [block(20, 19, 20, 15)] * 20).says_better

    def test_scores_need_fewer_blocks_when_their_variance_is_low(self):
        found = scores([0.80, 0.75, 0.85, 0.78, 0.82] * 4, [0.80, 0.78, 0.82, 0.75, 0.85] * 4)
        start = QualityGate.start(margin=0.05, champion_mean=0.8, champion_variance=0.0025, kind="score")
        as_scores = after_all(start, [found] * 6)
        as_rates = after_all(self.start, [found] * 6)
        assert as_scores.peaks["ship1"] >= threshold(0.05) > as_rates.peaks["ship1"]

    def test_a_margin_of_zero_is_refused(self):
        with pytest.raises(ValueError, match="margin"):
            QualityGate.start(margin=0.0, champion_mean=0.8)

    @pytest.mark.parametrize(
        ("share", "is_last", "m"),
        [(0.1, False, 3), (0.24, False, 3), (0.25, False, 2), (0.5, False, 1), (0.9, False, 1), (0.1, True, 1)],
    )
    def test_a_small_share_is_asked_for_less_and_the_last_stage_for_all(self, share, is_last, m):
        assert margin_needed(share, is_last=is_last) == m


class TestDecision:
    passing = {"ship3": 9.0, "ship2": 9.0, "ship1": 9.0, "roll": 0.0}  # noqa: RUF012

    def standing(self, **changes) -> Standing:
        return Standing(**{"ladder": LADDER, "stage": 0, "peaks": self.passing, "labelled_in_stage": 200, **changes})

    def test_arms_of_the_wrong_size_end_it_as_invalid_before_anything_else(self):
        assert stopping_rule(self.standing(sample_ratio_alarm=True, guardrail_alarm="errors")).action == "invalid"

    def test_worse_beats_every_passed_gate(self):
        assert stopping_rule(self.standing(peaks={**self.passing, "roll": 3.6})).action == "roll_back"

    def test_each_stage_goes_to_the_next_share_and_the_last_promotes(self):
        found = [stopping_rule(self.standing(stage=i)) for i in range(4)]
        assert [(d.action, d.share) for d in found] == [
            ("advance", 0.25),
            ("advance", 0.5),
            ("advance", 0.75),
            ("promote", 1.0),
        ]

    @pytest.mark.parametrize("missing", [{"held": True}, {"dwell_over": False}, {"labelled_in_stage": 199}])
    def test_one_thing_missing_holds(self, missing):
        assert stopping_rule(self.standing(**missing)).action == "hold"

    def test_the_minimum_duration_holds_only_the_promotion(self):
        assert stopping_rule(self.standing(stage=2, min_duration_over=False)).action == "advance"
        assert stopping_rule(self.standing(stage=3, min_duration_over=False)).action == "hold"

    def test_a_hold_neither_stops_a_rollback_nor_the_end_of_the_budget(self):
        assert stopping_rule(self.standing(held=True, guardrail_alarm="errors")).action == "roll_back"
        assert stopping_rule(self.standing(held=True, budget_spent="8000 labels are used")).action == "inconclusive"

    def test_labels_end_a_rollout_only_where_evidence_is_missing_and_the_stage_had_its_chance(self):
        used = {"labelled": 8000, "max_labelled": 8000}
        unsure = {**self.passing, "ship1": 1.0}
        assert stopping_rule(self.standing(stage=3, peaks=unsure, **used)).action == "inconclusive"
        assert stopping_rule(self.standing(stage=3, peaks=unsure, labelled_in_stage=10, **used)).action == "hold", (
            "its first cohorts mature"
        )
        assert stopping_rule(self.standing(stage=3, min_duration_over=False, **used)).action == "hold", (
            "only time is missing"
        )
        assert stopping_rule(self.standing(stage=3, peaks=unsure, labelled=7999, max_labelled=8000)).action == "hold"

    def test_a_spent_budget_never_ships_what_lacks_evidence(self):
        found = stopping_rule(
            self.standing(stage=3, peaks={**self.passing, "ship1": 2.9}, budget_spent="30 days are over")
        )
        assert (found.action, found.share) == ("inconclusive", 0.0)
        assert "30 days are over" in found.reason
        assert "18.2, 20 is needed" in found.reason

    def test_a_ladder_of_one_small_stage_asks_for_the_whole_margin(self):
        peaks = {**self.passing, "ship1": 0.0}
        assert stopping_rule(self.standing(ladder=(0.05,), peaks=peaks)).action == "hold"

    def test_large_evidence_is_shown_without_overflow(self):
        assert [shown(x) for x in (-1.2, 2.0, 7.36, 13.9, 5000.0)] == ["0.301", "7.39", "1,572", "10^6", "10^2171"]


class TestInterval:
    start = QualityGate.start(margin=0.05, champion_mean=0.8)

    def interval(self, blocks):
        return running_intervals(self.start, tuple(blocks))[-1].interval

    def test_without_evidence_there_is_none(self):
        assert running_intervals(self.start, ()) == ()

    def test_it_holds_the_observed_difference_and_agrees_with_the_gates(self):
        blocks = [block(20, 16, 20, 16)] * 60
        found = self.interval(blocks)
        gate = after_all(self.start, blocks)
        assert -0.05 < found.lower < 0 < found.upper < 0.1
        assert gate.peaks["ship1"] >= threshold(0.05)

    def test_its_lower_end_leaves_the_margin_with_the_block_that_passes_the_gate(self):
        blocks = [block(20, 16, 20, 16)] * 60
        passed = next(n for n in range(61) if after_all(self.start, blocks[:n]).peaks["ship1"] >= threshold(0.05))
        assert self.interval(blocks[: passed - 1]).lower == pytest.approx(-0.05)
        assert self.interval(blocks[:passed]).lower == pytest.approx(-0.04)

    def test_its_upper_end_falls_below_zero_with_the_block_that_rolls_back(self):
        blocks = [block(20, 14, 20, 16)] * 60
        worse = next(n for n in range(61) if after_all(self.start, blocks[:n]).peaks["roll"] >= threshold(0.03))
        assert self.interval(blocks[: worse - 1]).upper == pytest.approx(0.0)
        assert self.interval(blocks[:worse]).upper < 0

    def test_it_merges_blocks_as_the_gate_does(self):
        small, merged = [block(1, 0, 3, 3), block(3, 2, 3, 1)], block(4, 2, 6, 4)
        assert self.interval(small * 10) == self.interval([merged] * 10)

    def test_it_lies_below_zero_when_the_candidate_would_be_rolled_back(self):
        found = self.interval([block(20, 10, 20, 16)] * 12)
        assert -0.6 < found.lower < found.upper < 0


class TestGuardrails:
    def test_errors_of_the_candidate_alone_alarm(self):
        calm = Guardrail.start("errors", champion_mean=0.01)
        assert after_all(calm, [block(2, 1, 18, 0)] * 8).alarmed
        assert not after_all(calm, [block(2, 0, 18, 0)] * 500).alarmed

    def test_an_outage_of_both_arms_does_not_alarm(self):
        calm = Guardrail.start("errors", champion_mean=0.01)
        assert not after_all(calm, [block(4, 2, 36, 18)] * 200).alarmed

    def test_tokens_of_an_earlier_stage_do_not_break_up_what_is_carried(self):
        calm = Guardrail.start("errors", champion_mean=0.01)
        sparse = [block(1, 1, 0, 0, stage=1), block(0, 0, 3, 0, stage=1)]
        stragglers = [sparse[0], block(0, 0, 1, 0), sparse[1], block(0, 0, 1, 0)]
        alone, beside = after_all(calm, sparse * 20), after_all(calm, [block(0, 0, 1, 0, stage=1), *stragglers * 20])
        assert alone.alarmed
        assert beside.alarmed
        assert beside.n_candidate == alone.n_candidate == 20
        late = calm.after(sparse[0]).after(block(1, 0, 3, 0))
        assert (late.n_candidate, late.n_blocks) == (1, 1), "an earlier stage's own comparison counts"

    def test_latency_may_be_worse_by_its_margin(self):
        calm = Guardrail.start("latency", champion_mean=0.05)
        assert not after_all(calm, [block(20, 1, 180, 9)] * 50).alarmed
        assert after_all(calm, [block(20, 6, 180, 9)] * 20).alarmed

    def test_cost_is_compared_as_a_ratio(self):
        calm = Guardrail.start("cost", champion_mean=0.1, champion_variance=0.005)
        dear, fair = scores([0.2, 0.25, 0.15], [0.1] * 9), scores([0.11, 0.1, 0.12], [0.1] * 9)
        assert after_all(calm, [dear] * 40).alarmed
        assert not after_all(calm, [fair] * 40).alarmed

    def test_a_cost_ratio_approved_with_the_nomination_is_no_alarm(self):
        dear = scores([0.15, 0.16, 0.14], [0.1] * 9)
        usual = Guardrail.start("cost", champion_mean=0.1, champion_variance=0.005)
        approved = Guardrail.start("cost", champion_mean=0.1, champion_variance=0.005, margin=1.65)
        assert after_all(usual, [dear] * 150).alarmed
        assert not after_all(approved, [dear] * 150).alarmed

    def test_where_the_cap_leaves_no_room_for_a_dearer_candidate_nothing_is_staked(self):
        full = after_all(Guardrail.start("cost", champion_mean=0.95), [scores([1.0, 1.0], [0.9] * 8)] * 5)
        assert full.evidence.log_e == pytest.approx(0.0)

    def test_an_alarm_stays(self):
        alarmed = after_all(Guardrail.start("errors", champion_mean=0.01), [block(4, 4, 36, 0)] * 4)
        assert after_all(alarmed, [block(4, 0, 36, 2)] * 300).alarmed

    def test_a_block_without_the_candidate_waits(self):
        calm = Guardrail.start("errors", champion_mean=0.01)
        assert calm.after(block(0, 0, 9, 1)).after(block(1, 1, 9, 0)) == calm.after(block(1, 1, 18, 1))


class TestHardStop:
    def run(self, units: list[str], champion_failures: int, *, meanwhile: int = 1) -> FailureRun:
        """A champion that worked, ``meanwhile`` its requests before each of the candidate's,
        and how many of its next ten failed.
        """
        found = FailureRun(champion=(False,) * 10)
        for unit in units:
            for _ in range(meanwhile):
                found = found.after_champion([False])
            found = found.after_candidate(unit, failed=True)
        for i in range(10 if champion_failures else 0):
            found = found.after_champion([i < champion_failures])
        return found.after_candidate("z", failed=True) if champion_failures else found

    def test_ten_failures_of_three_units_in_a_row_stop(self):
        assert self.run(["a", "b", "c", "a"] * 2 + ["a", "b"], 4).finding == "failing"

    def test_nine_do_not_and_one_success_starts_again(self):
        assert self.run(["a", "b", "c"] * 3, 0).finding == "none"
        broken = self.run(["a", "b", "c"] * 4, 0).after_candidate("d", failed=False)
        assert broken.finding == "none"

    def test_one_heavy_user_alone_does_not_stop(self):
        assert self.run(["a", "b"] * 5, 0).finding == "none"

    def test_a_champion_that_fails_as_well_makes_it_a_shared_incident(self):
        assert self.run(["a", "b", "c", "d", "e"] * 2, 5).finding == "shared_incident"

    def test_of_a_champion_with_little_traffic_the_few_requests_during_the_run_count(self):
        """At a share of 75 % the champion answers three times while the candidate fails ten times."""
        found = FailureRun(champion=(False,) * 10)
        for i, unit in enumerate(["a", "b", "c", "d", "e"] * 2):
            found = found.after_champion([True]) if i in (3, 6, 9) else found
            found = found.after_candidate(unit, failed=True)
        assert found.finding == "shared_incident"

    def test_when_an_incident_ends_the_champion_recovers_first_and_the_candidate_is_not_blamed(self):
        found = self.run(["a", "b", "c", "d", "e"] * 2, 10)
        assert found.finding == "shared_incident"
        for _ in range(20):
            found = found.after_champion([False])
        assert found.finding == "shared_incident"
        assert found.after_candidate("a", failed=False).finding == "none"

    def test_of_a_champion_that_was_not_asked_meanwhile_nobody_knows_whether_it_works(self):
        units = ["a", "b", "c", "d", "e"] * 2
        assert self.run(units, 0, meanwhile=0).finding == "alone"
        assert (
            self.run(units, 0, meanwhile=0).after_champion([False]).after_candidate("a", failed=True).finding
            == "failing"
        )
        outage = self.run(units, 0, meanwhile=0).after_champion([True]).after_candidate("a", failed=True)
        assert outage.finding == "shared_incident"
        for unit in units:
            outage = outage.after_candidate(unit, failed=True)
        assert outage.finding == "shared_incident", "until one of the two works again"

    def test_a_candidate_that_goes_on_failing_after_the_incident_is_stopped(self):
        found = self.run(["a", "b", "c", "d", "e"] * 2, 10)
        for unit in ["a", "b", "c"] * 4:
            for _ in range(9):
                found = found.after_champion([False])
            found = found.after_candidate(unit, failed=True)
        assert found.finding == "failing"


class TestSampleRatio:
    def test_it_is_the_beta_mixture_of_likelihood_ratios(self):
        def slow(n_c: int, n_b: int, pi: float, strength: float) -> float:
            steps, a, b = 20000, strength * pi, strength * (1 - pi)
            points = [(i + 0.5) / steps for i in range(steps)]
            prior = [x ** (a - 1) * (1 - x) ** (b - 1) for x in points]
            lifted = sum(p * (x / pi) ** n_c * ((1 - x) / (1 - pi)) ** n_b for p, x in zip(prior, points, strict=True))
            return log(lifted / sum(prior))

        assert sample_ratio_log_e(14, 40, pi=0.25, prior_strength=40) == pytest.approx(slow(14, 40, 0.25, 40), abs=1e-4)

    def test_labels_that_come_at_the_same_rate_raise_nothing(self):
        assert not label_rates_differ(20, 180, units_c=100, units_b=900)
        assert label_rates_differ(50, 180, units_c=100, units_b=900)
        assert not label_rates_differ(0, 3, units_c=0, units_b=10)

    def test_silence_is_less_than_half_the_reports_beyond_chance(self):
        assert is_silent(5, 900, fetches_c=100, fetches_b=900)
        assert not is_silent(600, 9000, fetches_c=1000, fetches_b=9000)  # fewer, beyond chance, but more than half
        assert not is_silent(0, 9, fetches_c=1, fetches_b=9)  # too few to tell
        assert not is_silent(0, 0, fetches_c=0, fetches_b=0)

    def test_long_sessions_of_one_arm_are_no_silence_of_the_other(self):
        assert not is_silent(30, 1800, fetches_c=12, fetches_b=108)  # 2.5 reports per fetch against 16.7
        assert is_silent(1, 1800, fetches_c=30, fetches_b=270)
        assert not is_silent(
            1, 1800, fetches_c=30, fetches_b=270, window=200
        )  # all looks of a stage together may err at .001

    def test_a_share_of_zero_is_refused(self):
        with pytest.raises(ValueError, match="share"):
            sample_ratio_log_e(1, 1, pi=0.0)


class TestDrift:
    def test_it_alarms_soon_after_a_drop_and_stays_alarmed(self):
        detector = DriftDetector(reference=0.8)
        for y in [1, 1, 1, 0, 1] * 60:
            detector = detector.after(y)
        assert not detector.alarmed
        for y in [1, 0] * 100:
            detector = detector.after(y)
        assert detector.alarmed
        for _ in range(200):
            detector = detector.after(1)
        assert detector.log_value < log(detector.run_length)
        assert detector.alarmed

    def test_it_is_the_sum_over_all_starting_points(self):
        """Shiryaev-Roberts: M after n outcomes = sum over k of the likelihood ratio of outcomes k..n."""
        outcomes = [1, 0, 0.5, 0]
        detector = DriftDetector(reference=0.6, drops=(0.2,), weights=(1.0,))
        for y in outcomes:
            detector = detector.after(y)
        ratios = [y * 0.4 / 0.6 + (1 - y) * 0.6 / 0.4 for y in outcomes]
        assert exp(detector.log_value) == pytest.approx(sum(prod(ratios[k:]) for k in range(4)))

    def test_the_reference_is_cautious_and_leaves_room_for_the_weak_day(self):
        earlier = Sums(n=1000, total=800, squares=800)
        assert reference_mean(earlier) == pytest.approx(0.7833, abs=2e-4)
        assert reference_mean(earlier, weekly_dip=0.04) == pytest.approx(0.7433, abs=2e-4)
        with pytest.raises(ValueError, match="wait"):
            reference_mean(Sums())

    def test_the_dip_needs_a_whole_week(self):
        assert weekly_dip([0.8] * 6 + [0.73]) == pytest.approx(0.06)
        assert weekly_dip([0.8, 0.5]) == 0.0


class TestForecast:
    traffic = TrafficRate(units_per_hour=1000, label_rate=0.1, window_hours=24)

    def test_it_names_the_labels_of_the_checked_simulation(self):
        """Base .80, equal candidate, margin .05: simulated 2569 in the mean;
        the growth form says 2560, and 5260 for nine in ten.
        """
        found = [
            forecast(base=0.8, lift=0.0, margin=0.05, ladder=LADDER, traffic=self.traffic, kappa=k).labelled
            for k in (0.5, 4.5)
        ]
        assert found == pytest.approx([2560, 5260], abs=15)

    def test_each_stage_pays_its_feedback_window_and_its_minimum(self):
        found = forecast(base=0.8, lift=0.1, margin=0.05, ladder=LADDER, traffic=self.traffic)
        assert found.stages[3].labelled == 200
        assert found.stages[3].hours == pytest.approx(2 + 24)
        assert found.units == pytest.approx(found.labelled / 0.1)

    def test_a_candidate_worse_by_the_margin_never_arrives(self):
        found = forecast(base=0.8, lift=-0.05, margin=0.05, ladder=LADDER, traffic=self.traffic)
        assert found.labelled == inf
        assert gate_growth(0.8, -0.05, w=0.5, m=1, margin=0.05) == 0.0

    def test_the_proposed_margin_is_the_smallest_that_fits(self):
        limits = {"max_labelled": 8000, "max_hours": 720}
        found = smallest_feasible_margin(base=0.8, lift=0.0, ladder=LADDER, traffic=self.traffic, **limits)
        assert found == pytest.approx(0.045)
        below = forecast(base=0.8, lift=0.0, margin=0.04, ladder=LADDER, traffic=self.traffic, kappa=KAPPA_90)
        assert below.labelled > 8000
        nobody = TrafficRate(units_per_hour=1, label_rate=0.01)
        assert smallest_feasible_margin(base=0.8, lift=0.0, ladder=LADDER, traffic=nobody, **limits) is None

    def test_the_assumed_lift_is_cautious_and_a_forced_start_assumes_none(self):
        assert assumed_lift(0.10, 0.05) == pytest.approx(0.10 - 0.8416 * 0.05, abs=1e-5)
        assert assumed_lift(0.01, 0.05) == 0.0
        assert assumed_lift(0.10, 0.05, forced=True) == 0.0

    def test_worse_failures_are_found_sooner_and_within_the_margin_never(self):
        found = [
            candidate_requests_to_alarm(base=0.01, bad=bad, w=0.1, margin=0.01, alpha=0.008)
            for bad in (0.02, 0.05, 0.3, 1.0)
        ]
        assert found[0] == inf
        assert found == sorted(found, reverse=True)


class TestSelection:
    def test_the_best_of_equals_is_drawn_to_their_mean(self):
        assert shrink_best([0.06, 0.0, 0.03], variance=1.0).lift == pytest.approx(0.03)
        assert shrink_best([0.06, 0.0, 0.03], variance=0.0).lift == pytest.approx(0.06)

    def test_one_lift_says_nothing_about_the_spread(self):
        with pytest.raises(ValueError, match="several"):
            shrink_best([0.1], variance=0.01)

    def test_the_bias_of_the_best_is_counted_over_all_draws(self):
        """Two examples, two variants: the four equally likely draws are enumerated."""
        rows = [[1.0, 0.0], [0.0, 1.0]]
        slow = (
            sum(max(sum(row[i] for i in drawn) / 2 for row in rows) - 0.5 for drawn in product(range(2), repeat=2)) / 4
        )
        assert max_bias(rows, seed=1, n_draws=20_000) == pytest.approx(slow, abs=0.01)

    def test_one_variant_alone_has_no_bias(self):
        assert max_bias([[0.0, 1.0, 1.0, 0.0] * 5], seed=1) == pytest.approx(0.0, abs=0.01)

    def test_rows_of_different_examples_are_refused(self):
        with pytest.raises(ValueError, match="same examples"):
            max_bias([[1.0], [1.0, 0.0]], seed=1)


def test_the_exact_chance_of_a_false_verdict_stays_below_alpha():
    """Every path of four blocks, enumerated:
    the chance that E ever reaches 1 / alpha under the null is at most alpha."""
    start = QualityGate.start(margin=0.2, champion_mean=0.5, min_block=4)
    chances = {s: comb(2, s) * 0.5**2 for s in range(3)}
    paths = {start: 1.0}
    for _ in range(4):
        following: dict[QualityGate, float] = {}
        for (gate, chance), s_c, s_b in product(paths.items(), chances, chances):
            gate = gate.after(block(2, s_c, 2, s_b))
            following[gate] = following.get(gate, 0.0) + chance * chances[s_c] * chances[s_b]
        paths = following
    assert sum(paths.values()) == pytest.approx(1.0)
    for alpha in (0.5, 0.2, 0.1):
        crossed = sum(chance for gate, chance in paths.items() if gate.peaks["roll"] >= threshold(alpha))
        assert 0 < crossed <= alpha
    assert sum(chance * exp(gate.of("roll").log_e) for gate, chance in paths.items()) <= 1 + 1e-9


@pytest.mark.parametrize("margin", [0.4, 0.9])
def test_three_margins_may_be_more_than_there_is_to_lose(margin: float):
    """The largest margins that a family may declare: the gate goes on, and the evidence is nearly certain at once."""
    gate = QualityGate.start(margin=margin, champion_mean=0.5).after(block(20, 10, 20, 10))
    assert gate.peaks["ship3"] > threshold(0.05)
    assert gate_growth(0.5, 0.0, w=0.5, m=3, margin=margin) > gate_growth(0.5, 0.0, w=0.5, m=1, margin=0.3)
