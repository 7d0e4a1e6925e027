"""How long a rollout may take, and what the best of several variants owes to luck."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import pytest

from optimizer.core.statistics.forecast import (
    KAPPA_90,
    RolloutDesign,
    TrafficRate,
    assumed_lift,
    candidate_requests_to_alarm,
    forecast,
    gate_growth,
    smallest_feasible_margin,
)
from tests.selection import max_bias, shrink_best
from tests.unit.statistics.blocks import LADDER


class TestForecast:
    traffic = TrafficRate(units_per_hour=1000, label_rate=0.1, window_hours=24)
    equal = RolloutDesign(base=0.8, lift=0.0, margin=0.05, ladder=LADDER)

    def test_it_names_the_labels_of_the_checked_simulation(self):
        """Base .80, equal candidate, margin .05: simulated 2569 in the mean;
        the growth form says 2560, and 5260 for nine in ten.
        """
        found = [forecast(self.equal, self.traffic, kappa=k).labelled for k in (0.5, 4.5)]
        assert found == pytest.approx([2560, 5260], abs=15)

    def test_each_stage_pays_its_feedback_window_and_its_minimum(self):
        found = forecast(replace(self.equal, lift=0.1), self.traffic)
        assert found.stages[3].labelled == 200
        assert found.stages[3].hours == pytest.approx(2 + 24)
        assert found.units == pytest.approx(found.labelled / 0.1)

    def test_a_candidate_worse_by_the_margin_never_arrives(self):
        found = forecast(replace(self.equal, lift=-0.05), self.traffic)
        assert found.labelled == inf
        assert gate_growth(0.8, -0.05, w=0.5, m=1, margin=0.05) == 0.0

    def test_the_proposed_margin_is_the_smallest_that_fits(self):
        limits = {"max_labelled": 8000, "max_hours": 720}
        found = smallest_feasible_margin(self.equal, self.traffic, **limits)
        assert found == pytest.approx(0.045)
        below = forecast(replace(self.equal, margin=0.04), self.traffic, kappa=KAPPA_90)
        assert below.labelled > 8000
        nobody = TrafficRate(units_per_hour=1, label_rate=0.01)
        assert smallest_feasible_margin(self.equal, nobody, **limits) is None

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
