"""The simulations ask the product's own functions, and a wrong rule is seen as wrong."""

from __future__ import annotations

import importlib
from collections import deque
from typing import Any

import numpy as np
import pages
import pytest

deciders = importlib.import_module("rules.deciders")
gbstats_package = importlib.import_module("rules.gbstats_package")
totals = importlib.import_module("rules.totals")
ramps = importlib.import_module("rules.ramps")
drift_monitors = importlib.import_module("simulations.drift_monitors")
fixed_ramp = importlib.import_module("simulations.fixed_ramp")
gate_trial = importlib.import_module("gate_trial")
guardrail_alarms = importlib.import_module("simulations.guardrail_alarms")
heavy_user = importlib.import_module("simulations.heavy_user")
interval_coverage = importlib.import_module("simulations.interval_coverage")
late_feedback = importlib.import_module("simulations.late_feedback")
own_ramps = importlib.import_module("simulations.own_ramps")
own_rule = importlib.import_module("simulations.own_rule")
replay = importlib.import_module("simulations.replay")
returning_users = importlib.import_module("simulations.returning_users")
selective_silence = importlib.import_module("simulations.selective_silence")
tally = importlib.import_module("simulations.tally")
whole_rollout = importlib.import_module("simulations.whole_rollout")
statistics_page = importlib.import_module("simulations.page").page


class Asked(Exception):
    """Raised in place of an answer, to show who was asked."""


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise Asked


def rng(run: int = 0) -> np.random.Generator:
    return np.random.default_rng([2026, run])


@pytest.mark.parametrize(
    ("module", "name", "simulate"),
    [
        (own_rule, "stopping_rule", lambda: own_ramps.run_ramp(rng(), own_rule.OwnRule(), 0.0)),
        (own_rule, "stopping_rule", lambda: late_feedback.by_cohort(24)(rng(), 0.0, 1.0)),
        (own_rule, "stopping_rule", lambda: returning_users.run_users(rng(), 0.0, once_per_stage=True)),
        (
            own_rule,
            "stopping_rule",
            lambda: returning_users.run_users(rng(), 0.0, once_per_stage=True, crowd=returning_users.HARDEST),
        ),
        (
            own_rule,
            "stopping_rule",
            lambda: selective_silence.run_silent(rng(), selective_silence.Silence(candidate=0.1)),
        ),
        (
            selective_silence,
            "label_rates_differ",
            lambda: selective_silence.run_silent(rng(), selective_silence.Silence(candidate=0.1)),
        ),
        (fixed_ramp.QualityGate, "after", lambda: fixed_ramp.watch_ramp(rng(), 0.0, {"ours": tally.Tally()})),
        (
            own_ramps.QualityGate,
            "after",
            lambda: own_ramps.watch_blocks(own_ramps.draw_ramp(rng(), 0.0, lambda n: 0.8, own_ramps.on_ramp), 0.8),
        ),
        (guardrail_alarms.Guardrail, "after", lambda: guardrail_alarms.false_alarms(1, 1)),
        (heavy_user.Guardrail, "after", lambda: heavy_user.run_heavy(rng(), 5.0, rule="growing waits")),
        (drift_monitors.DriftDetector, "after", lambda: drift_monitors.run_length([1.0], 0.8)),
        (
            whole_rollout,
            "next_action",
            lambda: whole_rollout.run_whole(rng(), whole_rollout.Truth()),
        ),
        (whole_rollout.evidence_state, "after", lambda: whole_rollout.first_state()),
        (
            interval_coverage,
            "running_intervals",
            lambda: interval_coverage.run_interval(rng(), interval_coverage.CASES["+0 pt"]),
        ),
        (
            whole_rollout,
            "guardrail_alarm",
            lambda: whole_rollout.run_whole(rng(), whole_rollout.Truth()),
        ),
    ],
    ids=[
        "table B",
        "late",
        "returning",
        "hardest",
        "silent",
        "silent: rates",
        "table A",
        "drift",
        "table C",
        "heavy",
        "table D",
        "whole: next action",
        "whole: evidence state",
        "interval",
        "whole: guardrails",
    ],
)
def test_the_simulation_asks_the_product(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, simulate: Any
) -> None:
    monkeypatch.setattr(module, name, refuse)
    with pytest.raises(Asked):
        simulate()


def shipped(make: Any, runs: int = 120) -> float:
    """Share of rollouts of a candidate that is worse by the margin which a rule ships."""
    return sum(own_ramps.run_ramp(rng(run), make(), -tally.DELTA)[0] == "promote" for run in range(runs)) / runs


def test_a_rule_that_looks_at_a_fixed_threshold_again_and_again_is_seen_to_ship_what_is_worse():
    assert shipped(lambda: ramps.WatchedRamp(deciders.peeking(tally.DELTA), fixed_ramp.RAMP_A)) > 0.15


def test_the_product_with_its_threshold_loosened_is_seen_to_ship_what_is_worse(monkeypatch):
    """The same simulation and code, alpha .5 instead of .05: the measured rate follows."""
    right = shipped(own_rule.OwnRule)
    stopping_rule = own_rule.stopping_rule
    monkeypatch.setattr(own_rule, "stopping_rule", lambda standing: stopping_rule(standing, alpha_ship=0.5))
    assert right <= 0.1 < 0.2 < shipped(own_rule.OwnRule)


def test_feedback_taken_by_its_arrival_is_seen_to_roll_an_equal_candidate_back():
    ended = [late_feedback.by_arrival(rng(run), 0.0, 1.0)[0] for run in range(60)]
    assert ended.count("roll_back") / 60 > 0.1


def test_the_unhappy_who_are_silent_are_missing_from_the_outcomes_and_from_nothing_else() -> None:
    silence = selective_silence.Silence(candidate=0.5)
    drawn = [selective_silence.draw_units(rng(run), 0.5, silence) for run in range(400)]
    units_c, units_b = (sum(units[arm] for units, _ in drawn) for arm in (0, 1))
    n_c, s_c, n_b, s_b = (sum(outcomes[at] for _, outcomes in drawn) for at in range(4))
    assert n_b == units_b
    assert s_c / units_c == pytest.approx(0.75, abs=0.02)
    assert (units_c - n_c) / units_c == pytest.approx(0.25 * 0.5, abs=0.02)
    assert s_b / units_b == pytest.approx(0.80, abs=0.02)


def test_arms_that_are_seen_to_report_at_different_rates_go_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = selective_silence.Silence(candidate=1.0)
    assert selective_silence.run_silent(rng(), everybody)[0] == "promote", "of those who speak, all are pleased"
    monkeypatch.setattr(selective_silence, "label_rates_differ", lambda *counts, **units: True)
    end, _, _, seen = selective_silence.run_silent(rng(), everybody)
    assert (end, seen) == ("inconclusive", True)


@pytest.mark.parametrize("hour", [0, 6, 18])
def test_a_swinging_base_moves_both_arms_alike(hour: int) -> None:
    crowd = returning_users.HARDEST
    _, pleased = returning_users.draw_users(rng(), crowd)
    base = crowd.base(hour)
    chance = pleased * base / (tally.BASE + crowd.swing)
    assert chance.max() <= 1.0
    assert chance.mean() == pytest.approx(base, abs=0.02)


def test_a_few_users_send_most_requests_where_zipf_says_so() -> None:
    users = np.concatenate([returning_users.HARDEST.draw(rng(run)) for run in range(50)])
    assert 0 <= users.min() <= users.max() < 6_000
    assert np.mean(users < 60) > 0.4


def test_a_window_holds_the_share_of_feedback_that_it_is_named_for():
    wait_h = late_feedback.window(0.99, 1.0)
    assert sum(late_feedback.draw_in_time(rng(), [0, 0, 50_000, 40_000], 1.0, wait_h)) == pytest.approx(
        0.99 * (50_000 + 40_000), rel=0.01
    )
    assert late_feedback.arrivals(9.0).sum() == pytest.approx(1.0)


def test_a_candidate_that_fails_is_rolled_back_by_the_guardrail_before_any_label():
    end, labels, units = whole_rollout.run_whole(rng(), whole_rollout.Truth(errors=0.30))
    assert (end, labels) == ("roll_back", 0)
    assert units < 200


def test_a_shipped_candidate_goes_on_to_everybody_in_the_count_of_exposed_units():
    found = tally.Tally()
    found.add("promote", 1000, 300)
    found.add("roll_back", 1000, 300)
    assert own_ramps.exposed(found) == [300 + own_rule.BUDGET - 1000, 300]


@pytest.mark.parametrize("counts", [(100, 70, 400, 320), (3, 1, 7, 5), (2000, 1999, 2000, 1)])
def test_gbstats_and_its_formulas_agree(counts: tuple[int, int, int, int]) -> None:
    """With the package where it can be imported; else these are the figures that gbstats 0.8.0 gave for the first
    of them.
    """
    n_c, _, n_b, s_b = counts
    d = totals.pooled(*counts)
    found, bounds = gbstats_package.sequential(counts), totals.gbstats_sequential(d, n=n_c + n_b)
    assert (found.lower, found.upper, found.p) == pytest.approx((bounds.lower, bounds.upper, bounds.p), abs=1e-12)
    assert gbstats_package.bayes(counts).chance_to_win == pytest.approx(
        totals.gbstats_bayes(d, champion_mean=s_b / n_b).chance_to_win, abs=1e-12
    )
    if counts == (100, 70, 400, 320):
        assert (bounds.lower, bounds.upper, bounds.p) == pytest.approx(
            (-0.29275273167651567, 0.09275273167651549, 0.5527678924781745), abs=1e-12
        )
        assert totals.gbstats_bayes(d, champion_mean=0.8).chance_to_win == pytest.approx(
            0.025117303997246956, abs=1e-12
        )


@pytest.mark.parametrize("counts", [(0, 0, 10, 5), (10, 10, 10, 5), (10, 5, 10, 0)])
def test_gbstats_is_silent_where_an_arm_shows_no_variance(counts: tuple[int, int, int, int]) -> None:
    assert gbstats_package.sequential(counts) is None
    assert gbstats_package.bayes(counts) is None


def test_a_deck_deals_every_recorded_outcome_once():
    deck = replay.Deck(replay.Arm(n=100, good=37))
    assert sum(deck.deal(rng(), 10) for _ in range(10)) == 37
    assert deck.left == 0


def test_two_halves_of_an_arm_are_the_arm():
    a, b = replay.Arm(n=101, good=37).halves(rng())
    assert a + b == replay.Arm(n=101, good=37)


def test_a_replay_of_a_harm_within_the_margin_ships_and_one_far_beyond_it_is_rolled_back():
    champion = replay.Arm(n=30_000, good=6_000)
    for candidate, ending in (
        (replay.Arm(n=30_000, good=5_760), "promote"),
        (replay.Arm(n=30_000, good=1_500), "roll_back"),
    ):
        rule = own_rule.OwnRule(margin=0.05, base=champion.mean, labels=60_000)
        assert replay.replay(rng(), rule, candidate, champion, block=100, ships_at_end=False)[0] == ending


def test_the_page_of_the_replays_is_made_of_its_cells():
    cells = gate_trial.trial(
        "Cookie Cats, margin 0.05", [(replay.Arm(n=500, good=250), replay.Arm(n=500, good=250))], 0.05, 1
    )
    shown = gate_trial.page({"commit": "abc", "machine": "m", "cells": [vars(cell) for cell in cells]})
    assert "safe rollout (GrowthBook)" in shown
    assert "Cookie Cats, margin 0.05" in shown


def test_the_page_of_the_simulations_names_a_broken_promise_and_a_better_rule():
    def cell(case: str, ours: float, other: float, low: float, high: float, unit: str) -> dict[str, Any]:
        return {
            "case": case,
            "ours": ours,
            "other": other,
            "other_name": case.split(" vs ")[1],
            "low": low,
            "high": high,
            "unit": unit,
            "n": 2000,
        }

    share, labels = "share of rollouts; bounds of ours", "labels, mean; bounds of ours"
    cells = [
        cell("B -5.0 pt: promote vs reference table", 0.2, 0.036, 0.18, 0.22, share),
        cell("B +0.0 pt: roll_back vs reference table", 0.02, 0.024, 0.01, 0.03, share),
        cell("A -5 pt ship: rate vs quick", 0.03, 0.04, 0.02, 0.04, share),
        cell("A +0 pt roll: rate vs quick", 0.03, 0.04, 0.02, 0.04, share),
        cell("A -5 pt roll: labels vs quick", 2000.0, 1500.0, 1900.0, 2100.0, labels),
        cell("A -5 pt ship: rate vs reckless", 0.03, 0.3, 0.02, 0.04, share),
        cell("A -5 pt roll: labels vs reckless", 2000.0, 500.0, 1900.0, 2100.0, labels),
    ]
    stored = pages.results_of("statistics-measured")[1:]
    shown = statistics_page({"commit": "abc", "machine": "m", "cells": cells}, *stored)
    assert "| ships at -margin (table B) | 0.200 (0.180 to 0.220) | 0.050 | **no** |" in shown
    assert "| rolls an equal candidate back (table B) | 0.020 (0.010 to 0.030) | 0.050 | yes |" in shown
    assert "- -5 pt roll: quick, 1500 labels; ours 2000" in shown
    assert "reckless, 500" not in shown


def test_where_the_hours_differ_the_rule_before_rolls_equal_candidates_back_and_ours_does_not() -> None:
    whole_days = importlib.import_module("simulations.whole_days")
    case = whole_days.CASES["± 10 by the day, 400 labels an hour"]
    ends = [whole_days.run(case, 0.0, [7, i]) for i in range(12)]
    assert sum(end[whole_days.BEFORE][0] == "roll_back" for end in ends) >= 3
    assert [end[whole_days.OURS][0] for end in ends] == ["promote"] * len(ends)
    assert min(end[whole_days.OURS][2] for end in ends) >= 24


def test_uneven_hours_are_simulated_for_each_rule_by_itself() -> None:
    whole_days = importlib.import_module("simulations.whole_days")
    case = whole_days.CASES["± 10 by the day, labels jump tenfold"]
    assert set(whole_days.run(case, 0.0, [7, 0])) == {whole_days.OURS, whole_days.BEFORE}


def test_what_was_open_at_the_promotion_counts_in_the_week_after_it() -> None:
    whole_days = importlib.import_module("simulations.whole_days")
    case = whole_days.Case(window=24, turns=(36, 0.0))
    ends = []
    for good in (0.8, 0.5):
        rules = whole_days.Rules(names=(whole_days.OURS,), week=False, budget=10**6)
        rules.ends[whole_days.OURS] = ("promote", 0, 60)
        waiting = deque(whole_days.as_block(3, [300, round(300 * good), 100, 80]) for _ in range(24))
        ends.append(whole_days._alert_of_holdback(np.random.default_rng(7), case, rules, waiting, 0.0))
    assert [end[0] for end in ends] == ["not told", "told"]
    assert ends[1][2] <= 48  # the 24 hours before the promotion have closed by then
