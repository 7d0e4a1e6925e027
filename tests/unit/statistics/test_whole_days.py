"""What is decided where whole days of assignment end, and what at every hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp, pi, sin, sqrt

import numpy as np
import pytest

from optimizer.core.statistics.quality_gate import QualityGate
from optimizer.core.statistics.stopping_rule import Standing, stopping_rule
from optimizer.core.statistics.whole_days import WholeDays
from tests.unit.statistics.blocks import LADDER, after_all, block

T0 = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = QualityGate.start(margin=0.05, champion_mean=0.8).with_roll2()


def until(days: WholeDays, hours: float, gate: QualityGate) -> WholeDays:
    return days.until(T0 + hours * HOUR, gate, day=DAY, cohort=HOUR)


class TestWholeDays:
    begun = until(WholeDays(), 0, START)
    good = START.after(block(400, 360, 400, 300))

    def test_the_first_day_lasts_24_hours_beside_its_first_broken_cohort(self):
        assert self.begun.ends_at == T0 + 25 * HOUR
        assert until(self.begun, 24, self.good).n == 0
        assert until(self.begun, 25, self.good).n == 1

    def test_what_stands_at_the_end_counts_and_not_what_stood_at_the_best_hour(self):
        fallen = self.good.after(block(400, 260, 400, 380))
        assert fallen.peaks["ship1"] > 3 > 0 > fallen.of("ship1").log_e
        assert until(self.begun, 25, fallen).ship1 == 0.0
        assert until(self.begun, 25, self.good).ship1 == self.good.of("ship1").log_e

    def test_a_claim_that_stood_once_at_the_end_of_a_day_stays(self):
        over = until(until(self.begun, 25, self.good), 49, START)
        assert (over.n, over.ship1) == (2, self.good.of("ship1").log_e)

    def test_days_without_any_label_end_together_with_the_one_before_them(self):
        over = until(self.begun, 80, self.good)
        assert (over.n, over.ends_at) == (1, T0 + 97 * HOUR)

    @pytest.mark.parametrize(("game", "mean"), [("ship1", -0.05), ("roll", 0.0)])
    def test_it_is_evidence_about_the_mean_of_the_day_however_the_hours_swing(self, game, mean):
        """At most 1 on average, as every e-value, where the best hour is ten points above the mean."""
        draw, values = np.random.default_rng(38), []
        for _ in range(300):
            gate = START
            for hour in range(24):
                rate = 0.8 + mean + 0.1 * sin(2 * pi * hour / 24) * (1 if game == "ship1" else -1)
                gate = gate.after(block(20, int(draw.binomial(20, rate)), 20, int(draw.binomial(20, 0.8))))
            values.append(exp(gate.of(game).log_e))
        assert np.mean(values) <= 1 + 3 * np.std(values) / sqrt(len(values))


class TestBursts:
    def test_an_hour_with_many_labels_weighs_as_much_as_the_usual_one(self):
        usual = after_all(START, [block(20, 16, 20, 16)] * 10)
        burst = usual.after(block(200, 200, 200, 100))
        once = usual.after(block(20, 20, 20, 10))
        before, after, like = (gate.of("ship1").log_e for gate in (usual, burst, once))
        assert after - before < 1.4 * (like - before)
        assert usual.usual_n == 40
        assert burst.usual_n == pytest.approx(40 + 40 / 11), "counted as twice the usual one"

    def test_hours_that_are_alike_weigh_by_their_labels(self):
        blocks = [block(20, 16, 20, 16)] * 5
        plain = after_all(QualityGate.start(margin=0.05, champion_mean=0.8), blocks)
        assert after_all(START, blocks).evidence[:5] == plain.evidence

    def test_gates_from_before_weigh_every_label_alike(self):
        start = QualityGate.start(margin=0.05, champion_mean=0.8)
        assert after_all(start, [block(20, 16, 20, 16), block(200, 160, 200, 160)]).usual_n == 0


class TestDecision:
    passing = {"ship3": 9.0, "ship2": 9.0, "ship1": 9.0, "roll": 0.0, "roll2": 0.0}  # noqa: RUF012

    def standing(self, whole: WholeDays, **changes) -> Standing:
        usual = {"ladder": LADDER, "stage": 3, "peaks": self.passing, "labelled_in_stage": 200, "whole": whole}
        return Standing(**{**usual, **changes})

    def test_the_promotion_waits_until_the_claim_stands_at_the_end_of_a_whole_day(self):
        found = stopping_rule(self.standing(WholeDays(n=1, ship1=2.9, ends_at=T0)))
        assert found.action == "hold"
        assert "at the end of a whole day of assignment: at the ends of 1 day it was 18.2 at most" in found.reason
        assert "2026-11-23 10:00 UTC" in found.reason
        assert stopping_rule(self.standing(WholeDays(n=1, ship1=3.0))).action == "promote"

    def test_earlier_stages_do_not_wait(self):
        assert stopping_rule(self.standing(WholeDays(), stage=2)).action == "advance"

    def test_not_worse_is_refuted_where_days_end_and_at_no_hour(self):
        at_an_hour = {**self.passing, "roll": 9.0}
        assert stopping_rule(self.standing(WholeDays(n=1, ship1=9.0), peaks=at_an_hour)).action == "promote"
        found = stopping_rule(self.standing(WholeDays(n=1, ship1=9.0, roll=3.7)))
        assert (found.action, found.reason) == ("roll_back", "the candidate is worse: evidence 40.4, 40.0 suffices")

    def test_more_than_two_margins_worse_is_found_at_any_hour(self):
        found = stopping_rule(self.standing(WholeDays(), peaks={**self.passing, "roll2": 5.3}))
        assert (found.action, found.reason) == ("roll_back", "the candidate is worse: evidence 200, 200.0 suffices")

    def test_waiting_for_the_end_of_the_day_does_not_use_up_the_labels(self):
        used = {"labelled": 8200, "max_labelled": 8000}
        assert stopping_rule(self.standing(WholeDays(n=1, labelled=7900), **used)).action == "hold"

    def test_it_waits_for_one_end_of_a_day_beyond_the_last_label_that_is_allowed(self):
        used = {"labelled": 9000, "max_labelled": 8000}
        assert stopping_rule(self.standing(WholeDays(n=2, labelled=8900), **used)).action == "inconclusive"
        assert stopping_rule(self.standing(WholeDays(n=2, labelled=8900, ship1=3.0), **used)).action == "promote"
