"""What is decided where whole days of assignment end, and what at every hour."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, log, pi, sin, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.core.family.settings import RolloutSettings
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import forecast_rollout
from optimizer.core.forecast.plan import Lift, Progress, needs_of, plan_of, total_of
from optimizer.core.rollout.evidence_state import begin
from optimizer.core.rollout.start import fixed_settings
from optimizer.core.statistics.forecast import KAPPA_MEAN, TrafficRate
from optimizer.core.statistics.outcomes import Block
from optimizer.core.statistics.quality_gate import GAMES, QualityGate, WholeDays
from optimizer.core.statistics.stopping_rule import RolloutPosition, harm_evidence, stopping_rule
from optimizer.core.views.rollout_evidence import gates_of, verdict_of
from tests.unit.statistics.blocks import LADDER, after_all, block

T0 = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MEASURED = Path(__file__).parents[3] / "docs" / "reference" / "statistics-measured.md"
WINDOW = ", window 24 h"
ENDS = ("-5 pt", "+0 pt")  # promoted and rolled back wrongly


def measured(case: str) -> list[float]:
    """The shares of the case's row, per hundred, in the page's order."""
    row = next(line for line in MEASURED.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {case} "))
    return [100 * float(share) for share in re.findall(r"0\.\d{3}(?= \()", row)]


START = QualityGate.start(margin=0.05, champion_mean=0.8)


def until(days: WholeDays, hours: float, gate: QualityGate = START) -> WholeDays:
    return days.until(T0 + hours * HOUR, gate, day=DAY, cohort=HOUR)


def day_of(*blocks: Block) -> WholeDays:
    """After a whole day of these blocks."""
    begun = until(WholeDays.start(START), 0)
    return until(after_all(begun, blocks), 25)


class TestWholeDays:
    good, bad = block(400, 360, 400, 300), block(400, 260, 400, 380)
    begun = until(WholeDays.start(START), 0)

    def test_the_first_day_lasts_24_hours_beside_its_first_broken_cohort(self) -> None:
        assert self.begun.ends_at == T0 + 25 * HOUR
        assert until(self.begun.after(self.good), 24).n == 0
        assert until(self.begun.after(self.good), 25).n == 1

    def test_what_stands_at_the_end_counts_and_not_what_stood_at_the_best_hour(self) -> None:
        assert day_of(self.good).peak("ship1") == START.after(self.good).peaks["ship1"] > 3
        assert day_of(self.good, self.bad).peak("ship1") == 0.0

    def test_a_claim_that_stood_once_at_the_end_of_a_day_stays(self) -> None:
        over = until(day_of(self.good).after(self.bad), 49)
        assert (over.n, over.peak("ship1")) == (2, day_of(self.good).peak("ship1"))
        assert over.of("ship1").log_e < over.peak("ship1")

    def test_a_rollout_keeps_the_weights_that_its_settings_fixed_and_an_older_one_those_of_the_gate(self) -> None:
        older = {"margin": 0.05, "champion_mean": 0.8, "whole_days": True}
        fixed = fixed_settings(RolloutSettings(margin=0.05), champion="v_1", labels=[])
        of_roll = []
        for settings in (older, fixed):
            days = begin(settings).whole_days
            assert days is not None
            of_roll.append(days.of("roll").weights)
        assert of_roll == [(0.4, 0.3, 0.3), (0.9, 0.07, 0.03)]
        assert "roll_weights" not in fixed_settings(RolloutSettings(whole_days=False), champion="v_1", labels=[])

    def test_a_day_bets_on_what_was_known_where_it_began(self) -> None:
        known = START.after(self.bad)
        over = until(until(self.begun, 25, known).after(self.good), 49, known)
        together, before = (gate.of("ship1").components for gate in (known.after(self.good), known))
        assert over.of("ship1").components == pytest.approx([a - b for a, b in zip(together, before, strict=True)])

    def test_days_without_any_label_end_together_with_the_one_before_them(self) -> None:
        over = until(self.begun, 80)
        assert (over.n, over.ends_at) == (1, T0 + 97 * HOUR)

    def test_a_week_under_way_ends_within_a_day_where_days_are_asked_from_now_on(self) -> None:
        week = WholeDays.start(START).until(T0, START, day=7 * DAY, cohort=HOUR).after(self.good)
        assert until(week, 30).ends_at == T0 + 55 * HOUR
        assert until(until(week, 30), 55).peak("ship1") > 3

    @pytest.mark.parametrize("n", [60, pytest.param(300, marks=pytest.mark.long)])
    @pytest.mark.parametrize(("game", "mean"), [("ship1", -0.05), ("roll", 0.0)])
    @pytest.mark.long
    def test_it_is_evidence_about_the_mean_of_the_day_however_the_hours_swing(
        self, game: str, mean: float, n: int
    ) -> None:
        """As every e-value it reaches 20 in at most 1 of 20, where the best hour is ten points above the mean. Of 60
        the bar is 8; evidence of hours reaches 20 in 16 (ship1) and 12 (roll) of them.
        """
        draw, reached = np.random.default_rng(38), 0
        for _ in range(n):
            gate, days = START, until(WholeDays.start(START), 0)
            for hour in range(49):
                rate = 0.8 + mean + 0.1 * sin(2 * pi * hour / 24) * (1 if game == "ship1" else -1)
                days = until(days, hour, gate)
                cohort = block(20, int(draw.binomial(20, rate)), 20, int(draw.binomial(20, 0.8)))
                days, gate = days.after(cohort), gate.after(cohort)
            reached += until(days, 49, gate).peak(game) >= log(20)
        assert reached <= n / 20 + 3 * sqrt(n * 0.05 * 0.95)

    def test_hours_that_swing_are_evidence_while_a_day_lasts(self) -> None:
        """The control of the test above: at the best hour, the same data would refute the truth."""
        best = [block(200, round(200 * (0.75 + 0.1 * sin(2 * pi * h / 24))), 200, 160) for h in range(24)]
        assert after_all(START, best).peaks["ship1"] > log(20)
        assert day_of(*best).peak("ship1") < log(20)


class TestStakes:
    usual = block(20, 16, 20, 16)

    def test_a_burst_weighs_at_most_twice_as_much_as_the_usual_hour(self) -> None:
        burst, twice = day_of(*[self.usual] * 20, block(200, 200, 200, 100)), block(40, 40, 40, 20)
        like = day_of(*[self.usual] * 20, twice)
        alone = day_of(*[self.usual] * 20)
        assert alone.of("ship1").log_e < burst.of("ship1").log_e < like.of("ship1").log_e
        assert burst.labelled == 20 * 40 + 400 / 16

    def test_what_is_usual_is_known_at_the_days_end_so_that_a_small_first_hour_says_nothing(self) -> None:
        assert day_of(block(1, 1, 9, 8), *[self.usual] * 20).labelled == 810

    def test_busy_hours_of_every_day_are_no_burst(self) -> None:
        by_night, by_day = block(5, 4, 5, 4), block(200, 160, 200, 160)
        assert day_of(*[by_night] * 14, *[by_day] * 9).labelled == 14 * 10 + 9 * 400

    def test_what_is_usual_is_asked_of_all_days_so_far(self) -> None:
        busy = [block(200, 160, 200, 160)] * 10
        quiet = until(after_all(day_of(*[self.usual] * 24), [*[self.usual] * 5, *busy]), 49)
        assert quiet.labelled == 29 * 40 + 10 * 400 / 16


def days(*, ship1: float = 0.0, roll: float = 0.0, **members: Any) -> WholeDays:
    """With these log e-values as the largest at the ends of days."""
    start = WholeDays.start(START)
    peaks = {"ship1": ship1, "sup": 0.0, "roll": roll}
    evidence = [replace(one, peak=peaks[game]) for game, one in zip(GAMES, start.evidence, strict=True)]
    return replace(start, evidence=tuple(evidence), **members)


class TestDecision:
    passing = {"ship3": 9.0, "ship2": 9.0, "ship1": 9.0, "roll": 0.0, "roll2": 0.0}  # noqa: RUF012

    def standing(self, whole: WholeDays, **changes: Any) -> RolloutPosition:
        usual = {"ladder": LADDER, "stage": 3, "peaks": self.passing, "labelled_in_stage": 200, "whole": whole}
        return RolloutPosition(**{**usual, **changes})

    def test_the_promotion_waits_until_the_claim_stands_at_the_end_of_a_whole_day(self) -> None:
        found = stopping_rule(self.standing(days(n=1, ship1=2.9, ends_at=T0)))
        assert found.action == "wait"
        assert "at the end of a whole day of assignment: at the ends of 1 day it was 18.2 at most" in found.reason
        assert "2026-11-23 10:00 UTC" in found.reason
        assert stopping_rule(self.standing(days(n=1, ship1=3.0))).action == "promote"

    def test_earlier_stages_do_not_wait(self) -> None:
        assert stopping_rule(self.standing(days(), stage=2)).action == "advance"

    def test_not_worse_is_refuted_where_days_end_and_at_no_hour(self) -> None:
        at_an_hour = {**self.passing, "roll": 9.0}
        assert stopping_rule(self.standing(days(n=1, ship1=9.0), peaks=at_an_hour)).action == "promote"
        found = stopping_rule(self.standing(days(n=1, ship1=9.0, roll=3.7)))
        assert (found.action, found.reason) == ("roll_back", "the candidate is worse: evidence 40.4, 40.0 suffices")

    def test_more_than_two_margins_worse_is_found_at_any_hour(self) -> None:
        found = stopping_rule(self.standing(days(), peaks={**self.passing, "roll2": 5.3}))
        assert (found.action, found.reason) == (
            "roll_back",
            "the candidate is worse by more than two margins: evidence 200, 200.0 suffices",
        )

    def test_waiting_for_the_end_of_the_day_does_not_use_up_the_labels(self) -> None:
        used = {"labelled": 8200, "max_labelled": 8000}
        assert stopping_rule(self.standing(days(n=1, labelled=7900), **used)).action == "wait"

    def test_it_waits_for_one_end_of_a_day_beyond_the_last_label_that_is_allowed(self) -> None:
        used = {"labelled": 9000, "max_labelled": 8000}
        assert stopping_rule(self.standing(days(n=2, labelled=8900), **used)).action == "inconclusive"
        assert stopping_rule(self.standing(days(n=2, labelled=8900, ship1=3.0), **used)).action == "promote"


class TestWhatIsSaid:
    """Of a candidate that is ten points better at its best hours and as bad at the others, over the first good ones."""

    good = after_all(START.with_roll2(), [block(200, 180, 200, 150)] * 6)

    def test_the_words_wait_for_whole_days(self) -> None:
        said = verdict_of(self.good, until(WholeDays.start(START), 0))
        assert said == (
            "In some hours the candidate was not worse than the champion by 0.05 or more; nothing has been shown of"
            " whole days."
        )
        assert verdict_of(self.good, days(n=1, ship1=3.0)).startswith("The candidate is not worse than the champion by")
        assert verdict_of(self.good) == "The candidate is better than the champion."
        assert verdict_of(self.good, day_of(*[block(200, 180, 200, 150)] * 6)).endswith("better than the champion.")

    def test_claims_of_days_are_shown_with_the_evidence_of_days(self) -> None:
        seen = {one.name: one for one in gates_of(self.good, days(n=1, roll=3.7))}
        assert (seen["roll"].log_e, seen["roll"].threshold, seen["roll"].passed) == (3.7, 40, True)
        assert (seen["sup"].passed, seen["ship1"].passed) == (False, True)

    def test_harm_names_its_game(self) -> None:
        assert harm_evidence({"roll": 9.0, "roll2": 6.0}, 0.0).game == "roll2"
        assert harm_evidence({"roll": 9.0, "roll2": 6.0}, 5.0).game == "roll"
        assert harm_evidence({"roll": 9.0}, None).proven


class TestForecast:
    plan = plan_of(
        RolloutSettings(margin=0.05).model_dump(mode="json") | {"champion_mean": 0.8}, (0.1, 0.25, 0.5, 0.75), Lift()
    )

    def total(self, **members: Any) -> float:
        progress = Progress(stage=3, labelled_in_stage=900, hours=193.0, begun=True, **members)
        needs = needs_of(self.plan, TrafficRate(units_per_hour=40.0, label_rate=1.0), progress, KAPPA_MEAN)
        hours = total_of(self.plan, needs, progress).hours
        assert hours is not None
        return hours

    def test_a_claim_that_a_days_end_has_refused_still_needs_labels_and_another_day(self) -> None:
        refused = self.total(grown={1: -20.0}, n_days=6)
        assert refused > self.total(grown={1: 2.0}, n_days=6) > 0

    def test_what_stood_at_the_end_of_a_day_waits_for_none(self) -> None:
        assert self.total(grown={1: inf}, stood=True, n_days=7) == 0
        assert self.total(grown={1: inf}, n_days=7) == 8 * 24 + 1 + 25 - 193

    def test_units_that_come_back_often_are_told(self) -> None:
        until = datetime(2026, 1, 8, tzinfo=UTC)
        week = RecordedTraffic(
            since=until - timedelta(days=7),
            until=until,
            n_requests=35_000,
            n_requests_with_unit=35_000,
            n_units=2_500,
            n_late_units=100,
            n_labelled_units={("success", "user"): 2_000},
        )
        assert "a unit sends 2.0 requests a day" in forecast_rollout(self.plan, week).holds
        by_days = forecast_rollout(self.plan, replace(week, n_units=35_000)).holds
        assert "over whole days" in by_days
        wrong = [measured(f"± 10 by the week{window}, {mean}")[0] for window in (WINDOW, "") for mean in ENDS]
        text = "{:.0f} in 100 wrong promotions and {:.0f} wrong rollbacks, {:.0f} and {:.0f} without a feedback window"
        assert text.format(*wrong) in by_days

    def test_what_turns_after_the_hours_that_were_watched_is_told_with_the_figure_of_the_rule(self) -> None:
        holds, without_days = (
            forecast_rollout(plan_of(settings | {"champion_mean": 0.8}, (0.1, 0.5), Lift()), None).holds
            for settings in (
                RolloutSettings(margin=0.05, whole_days=days).model_dump(mode="json") for days in (True, False)
            )
        )
        assert without_days.endswith("They say nothing of what comes after the hours that were watched.")
        (promoted, alarmed), without = (
            measured(f"+ 5 for 48 hours, then - 10{window}, +5 pt") for window in (WINDOW, "")
        )
        assert f"in {promoted:.0f} of 100 rollouts with a feedback window of a day" in holds
        assert f"told of {promoted * alarmed / 100:.0f} of these" in holds
        assert holds.endswith("without a window in {:.0f}, and told of {:.0f}.".format(*without))
