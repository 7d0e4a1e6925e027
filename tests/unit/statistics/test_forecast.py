"""How long a rollout may take."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from optimizer.core.statistics.forecast import (
    KAPPA_90,
    RolloutDesign,
    TrafficRate,
    candidate_requests_to_alarm,
    forecast,
    gate_growth,
    smallest_feasible_margin,
)
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

    def test_worse_failures_are_found_sooner_and_within_the_margin_never(self):
        found = [
            candidate_requests_to_alarm(base=0.01, bad=bad, w=0.1, margin=0.01, alpha=0.008)
            for bad in (0.02, 0.05, 0.3, 1.0)
        ]
        assert found[0] == inf
        assert found == sorted(found, reverse=True)
