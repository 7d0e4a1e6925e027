"""When the gate ships, holds and rolls back, against every path of a few blocks and known cases."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, product
from math import comb, exp

import pytest

from optimizer.core.statistics.forecast import (
    gate_growth,
)
from optimizer.core.statistics.interval import running_intervals
from optimizer.core.statistics.outcomes import Evidence, threshold
from optimizer.core.statistics.quality_gate import (
    QualityGate,
    log_factors,
    margin_needed,
    roll_hypothesis,
    ship_hypothesis,
)
from optimizer.core.statistics.stopping_rule import RolloutPosition, e_value_text, stopping_rule
from tests.unit.statistics.blocks import LADDER, after_all, block, scores


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
        assert equal.peaks["sup"] < threshold(0.05)

    def test_better_is_said_only_when_not_better_is_rejected(self):
        assert after_all(self.start, [block(20, 19, 20, 15)] * 20).peaks["sup"] >= threshold(0.05)

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

    def standing(self, **changes) -> RolloutPosition:
        return RolloutPosition(
            **{"ladder": LADDER, "stage": 0, "peaks": self.passing, "labelled_in_stage": 200, **changes}
        )

    def test_each_stage_goes_to_the_next_share_and_the_last_promotes(self):
        found = [stopping_rule(self.standing(stage=i)) for i in range(4)]
        assert [d.action for d in found] == ["advance"] * 3 + ["promote"]

    def test_the_minimum_duration_holds_only_the_promotion(self):
        assert stopping_rule(self.standing(stage=2, min_duration_over=False)).action == "advance"
        assert stopping_rule(self.standing(stage=3, min_duration_over=False)).action == "wait"

    def test_a_hold_neither_stops_a_rollback_nor_the_end_of_the_budget(self):
        assert stopping_rule(self.standing(held=True, guardrail_alarm="errors")).action == "roll_back"
        assert stopping_rule(self.standing(held=True, budget_spent="8000 labels are used")).action == "inconclusive"

    def test_labels_end_a_rollout_only_where_evidence_is_missing_and_the_stage_had_its_chance(self):
        used = {"labelled": 8000, "max_labelled": 8000}
        unsure = {**self.passing, "ship1": 1.0}
        assert stopping_rule(self.standing(stage=3, peaks=unsure, **used)).action == "inconclusive"
        assert stopping_rule(self.standing(stage=3, peaks=unsure, labelled_in_stage=10, **used)).action == "wait", (
            "its first cohorts mature"
        )
        assert stopping_rule(self.standing(stage=3, min_duration_over=False, **used)).action == "wait", (
            "only time is missing"
        )
        assert stopping_rule(self.standing(stage=3, peaks=unsure, labelled=7999, max_labelled=8000)).action == "wait"

    def test_a_spent_budget_never_ships_what_lacks_evidence(self):
        found = stopping_rule(
            self.standing(stage=3, peaks={**self.passing, "ship1": 2.9}, budget_spent="30 days are over")
        )
        assert found.action == "inconclusive"
        assert "30 days are over" in found.reason
        assert "18.2, 20 is needed" in found.reason

    def test_a_ladder_of_one_small_stage_asks_for_the_whole_margin(self):
        peaks = {**self.passing, "ship1": 0.0}
        assert stopping_rule(self.standing(ladder=(0.05,), peaks=peaks)).action == "wait"

    def test_large_evidence_is_shown_without_overflow(self):
        assert [e_value_text(x) for x in (-1.2, 2.0, 7.36, 13.9, 5000.0)] == [
            "0.301",
            "7.39",
            "1,572",
            "10^6",
            "10^2171",
        ]


class TestInterval:
    start = QualityGate.start(margin=0.05, champion_mean=0.8)

    def interval(self, blocks):
        return running_intervals(self.start, tuple(blocks))[-1].interval

    def test_without_evidence_there_is_none(self):
        assert running_intervals(self.start, ()) == ()

    def test_its_lower_end_is_the_margin_or_above_from_the_block_on_that_passes_the_gate(self):
        blocks = [block(20, 16, 20, 16)] * 60
        passed = next(n for n in range(61) if after_all(self.start, blocks[:n]).peaks["ship1"] >= threshold(0.05))
        assert self.interval(blocks[: passed - 1]).lower == pytest.approx(-0.06)
        assert self.interval(blocks[:passed]).lower == pytest.approx(-0.05)

    def test_its_upper_end_reaches_zero_with_the_block_that_rolls_back(self):
        blocks = [block(20, 14, 20, 16)] * 60
        worse = next(n for n in range(61) if after_all(self.start, blocks[:n]).peaks["roll"] >= threshold(0.03))
        assert self.interval(blocks[: worse - 1]).upper == pytest.approx(0.01)
        assert self.interval(blocks[:worse]).upper == pytest.approx(0.0)

    def test_its_ends_are_the_differences_next_to_the_estimate_that_all_blocks_so_far_reject(self):
        """Rejected by the evidence of now: what a verdict latched may lie within it again."""
        blocks = [*[block(20, 12, 20, 16)] * 14, *[block(20, 18, 20, 16)] * 30]
        gates = list(accumulate(blocks, QualityGate.after, initial=self.start))
        running = running_intervals(self.start, tuple(blocks))

        def rejects(hypothesis, d, blocks):
            evidence = Evidence.none(hypothesis.weights)
            for one, gate in zip(blocks, gates, strict=False):
                factors = log_factors(replace(hypothesis, boundary=d), one, gate.champion, gate.candidate, "binary")
                evidence = evidence.after(factors)
            return evidence.log_e >= threshold(hypothesis.alpha)

        for n in (1, 14, 25):
            then = running[n - 1]
            grid = [i / 100 for i in range(-99, 100)]
            ship, roll = ship_hypothesis(1, 0.05), roll_hypothesis(0.05)
            below = [d for d in grid if d <= then.estimate and rejects(ship, d, blocks[:n])]
            above = [d for d in grid if d >= then.estimate and rejects(roll, d, blocks[:n])]
            assert then.interval.lower == pytest.approx(max(below, default=-1.0))
            assert then.interval.upper == pytest.approx(min(above, default=1.0))
        assert gates[-1].peaks["roll"] >= threshold(0.03)
        assert running[13].interval.upper <= 0 < running[-1].interval.upper

    def test_the_estimate_compares_within_blocks_and_not_totals(self):
        """Monday is bad for both and mostly the champion's, Tuesday good and mostly the candidate's: no difference,
        though totals differ by 40 points.
        """
        monday, tuesday = block(10, 4, 90, 36, stage=0), block(90, 81, 10, 9, stage=1)
        assert pytest.approx(0.4) == (4 + 81) / 100 - (36 + 9) / 100
        assert running_intervals(self.start, (monday, tuesday))[-1].estimate == pytest.approx(0.0)

    def test_blocks_that_the_gate_drops_or_holds_count_for_the_estimate_no_more_than_for_the_ends(self):
        counted = [block(10, 8, 30, 24)] * 3
        dropped, pending = block(4, 0, 4, 4), block(3, 0, 2, 2, stage=1)
        with_others = (*counted, dropped, block(10, 8, 30, 24, stage=1), pending)
        assert running_intervals(self.start, with_others)[-1].estimate == pytest.approx(0.0)
        assert len(running_intervals(self.start, with_others)) == 4

    def test_scores_have_one_as_well_though_far_differences_cannot_be_bet_on(self):
        start = QualityGate.start(margin=0.05, champion_mean=0.8, champion_variance=0.0025, kind="score")
        found = scores([0.82, 0.77, 0.87, 0.80, 0.84] * 4, [0.80, 0.78, 0.82, 0.75, 0.85] * 4)
        running = running_intervals(start, (found,) * 30)[-1]
        assert running.estimate == pytest.approx(0.02)
        assert -0.02 < running.interval.lower < 0.02 < running.interval.upper < 0.06

    def test_it_merges_blocks_as_the_gate_does(self):
        small, merged = [block(1, 0, 3, 3), block(3, 2, 3, 1)], block(4, 2, 6, 4)
        assert self.interval(small * 10) == self.interval([merged] * 10)


def test_the_exact_chance_of_a_false_verdict_stays_below_alpha():
    """Every path of three blocks, enumerated:
    the chance that E ever reaches 1 / alpha under the null is at most alpha."""
    start = QualityGate.start(margin=0.2, champion_mean=0.5, min_block=4)
    chances = {s: comb(2, s) * 0.5**2 for s in range(3)}
    paths = {start: 1.0}
    for _ in range(3):
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
