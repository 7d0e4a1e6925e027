"""How long a rollout will take, with figures worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil, inf, log, sqrt
from typing import Any

import pytest

from optimizer.core.family.settings import RolloutSettings, Signal
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import forecast_rollout
from optimizer.core.forecast.outcomes import SignalledAnswer, compare_outcomes
from optimizer.core.forecast.plan import NOT_BEGUN, ForecastPlan, Lift, Progress, lift_of, plan_of
from optimizer.core.rollout.start import fixed_settings
from tests.cases import named

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PLAN = ForecastPlan(
    **{"ladder": (0.5,), "margin": 0.1, "base": 0.5, "base_why": "", "lift": Lift(), "field": "success"},
    **{"source": "user", "min_labelled": 200, "max_labelled": 8000, "error_margin": 0.01},
    **{"max_hours": 720.0, "min_duration_hours": 24.0, "whole_hours": 0.0, "dwell_hours": 0.0},
    **{"cohort_hours": 1.0, "closing_hours": 25.0},
)
GROWTH = 0.5 * log(0.5 / 0.45) + 0.5 * log(0.5 / 0.55)  # both arms at .5, projected to .45 and .55
MEAN, NINE = (log(20) + 0.5) / GROWTH, (log(20) + 4.5) / GROWTH  # 695.6 and 1491.6 labelled outcomes
LADDER = replace(PLAN, ladder=(0.1, 0.25, 0.5, 0.75), margin=0.05, base=0.8)


def traffic(
    units: int = 16_800, labelled: int = 3_360, *, hours: float = 168.0, late: int | None = None, **changes: Any
) -> RecordedTraffic:
    """By default 100 units an hour, a fifth of which give a label: 20 labels an hour."""
    usual: dict[str, Any] = {
        "since": NOW - timedelta(hours=hours),
        "until": NOW,
        "n_requests": 2 * units,
        "n_requests_with_unit": 2 * units,
        "n_units": units,
        "n_late_units": units // 2 if late is None else late,
        "n_labelled_units": {("success", "user"): labelled} if labelled else {},
    }
    return RecordedTraffic(**{**usual, **changes})


def test_one_stage_takes_as_long_as_worked_out_by_hand() -> None:
    found = forecast_rollout(PLAN, traffic())
    (stage,) = found.stages
    assert found.verdict == "fits"
    assert (stage.expected.labelled, stage.nine_in_ten.labelled) == (pytest.approx(MEAN), pytest.approx(NINE))
    assert stage.expected.labelled == pytest.approx(695.6, abs=0.1)
    assert stage.expected.units == pytest.approx(MEAN / 0.2)
    assert stage.expected.hours == pytest.approx(MEAN / 20 + 25)
    assert stage.nine_in_ten.hours == pytest.approx(NINE / 20 + 25)
    assert found.expected is not None
    assert found.expected.hours == pytest.approx(75), "three windows, which is longer than the stage"
    assert found.users_exposed == pytest.approx(75 * 100 / 2), "also while windows pass"
    always_the_same = forecast_rollout(PLAN, traffic(1_000, 200, hours=24.0, late=0))
    assert always_the_same.users_exposed == pytest.approx(1_000 / 2)
    assert stage.detectable_drop == pytest.approx(sqrt(2 * 0.25 * 4 * (log(1 / 0.03) + 0.5) / (20 * 24)))
    assert found.nine_in_ten.hours == stage.nine_in_ten.hours


def test_on_a_simulated_clock_no_time_is_told_beside_cannot_tell() -> None:
    found = forecast_rollout(replace(PLAN, clock_scale=50.0, max_hours=1.0), traffic())
    assert (found.verdict, found.units_per_hour) == ("cannot_tell", pytest.approx(2))
    assert "simulated clock" in found.summary
    assert {(s.expected.hours, s.nine_in_ten.units, s.detectable_drop) for s in found.stages} == {(None, None, None)}
    assert found.users_exposed is None
    assert found.problems == ()
    assert found.stages[0].expected.labelled == pytest.approx(MEAN)


def test_minimum_times_are_waited_for() -> None:
    dwelling = forecast_rollout(replace(PLAN, dwell_hours=200.0), traffic())
    assert dwelling.stages[0].expected.hours == 200.0
    lasting = forecast_rollout(replace(PLAN, min_duration_hours=300.0), traffic())
    assert lasting.expected.hours == 300.0


def test_the_promotion_waits_for_the_end_of_the_day_in_which_its_evidence_is_complete() -> None:
    before, waiting = (forecast_rollout(replace(LADDER, whole_hours=hours), traffic()) for hours in (0.0, 24.0))
    closing = LADDER.cohort_hours + LADDER.closing_hours  # of the cohort that begins as the day ends
    assert (waiting.expected.hours - closing) % 24 == pytest.approx(0)
    assert 0 <= waiting.expected.hours - before.expected.hours < 24
    assert [s.expected for s in waiting.stages] == [s.expected for s in before.stages], "no stage waits"
    begun = replace(NOT_BEGUN, hours=60.0, begun=True)
    stood = forecast_rollout(replace(LADDER, whole_hours=24.0), traffic(), replace(begun, stood=True))
    assert stood.expected == forecast_rollout(LADDER, traffic(), begun).expected
    refused = forecast_rollout(replace(LADDER, whole_hours=24.0), traffic(), replace(begun, n_days=40))
    assert refused.expected.hours == 41 * 24.0 + closing - begun.hours, "the next end, where one has refused"
    week = forecast_rollout(replace(LADDER, whole_hours=168.0), traffic())
    assert week.expected.hours == 2 * 168.0 + closing


# --- what is not known ------------------------------------------------------------------------------------------------


@named(
    ("recorded", "says"),
    {
        "nothing at all": (None, "nothing was reported in the last 30 days"),
        "no units": (traffic(0, 0, n_requests=7_000), "of 7,000 reported requests none has a unit"),
        "no labels": (traffic(labelled=0), r"none of 16,800 units gave a label \(success by user\)"),
        "labels of another metric": (
            traffic(n_labelled_units={("score", "judge"): 40}),
            "labelled otherwise: 40 by score of judge",
        ),
        "a record of two hours": (traffic(30, 5, hours=2.0), "too short to rely on: 5 units with a label"),
        "a burst of some seconds": (traffic(1_000, 1_000, hours=0.01), "too short to rely on"),
    },
)
def test_what_cannot_be_told_is_its_own_answer_and_says_what_is_missing(recorded, says):
    found = forecast_rollout(LADDER, recorded)
    if recorded is None or recorded.hours < 1:
        assert {alarm.minutes for alarm in found.guardrails} == {None}, "of a burst no rate is known"
    assert found.verdict == "cannot_tell"
    assert not found.refuses
    assert found.gate() is None
    assert found.missing
    assert re.search(says, found.summary), found.summary


def test_without_traffic_no_hour_is_0_or_infinite_but_the_labels_are_known() -> None:
    found = forecast_rollout(LADDER, None)
    assert {(s.expected.units, s.expected.hours, s.detectable_drop) for s in found.stages} == {(None, None, None)}
    assert (found.users_exposed, found.requests_per_second, found.units_per_hour) == (None, None, None)
    assert {alarm.minutes for alarm in found.guardrails} == {None}
    assert found.expected.labelled == pytest.approx(2570, rel=0.01)


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_too_many_labels_are_named_with_the_ways_out() -> None:
    found = forecast_rollout(replace(PLAN, max_labelled=1000), traffic())
    assert [p.limit for p in found.problems] == ["max_labelled"]
    assert (
        found.problems[0].text == "90 % of such rollouts end within 1,492 labelled outcomes, and max_labelled is 1,000."
    )
    assert "a margin of 0.125 (now 0.1)" in found.ways_out
    assert "max_labelled: 1500" in found.ways_out
    wider = forecast_rollout(replace(PLAN, max_labelled=1000, margin=0.125), traffic())
    assert wider.verdict == "fits"


def test_too_many_days_are_named_with_the_share_of_labels_that_would_do() -> None:
    found = forecast_rollout(replace(PLAN, max_hours=72.0), traffic())
    assert [p.limit for p in found.problems] == ["max_days"]
    days = (NINE / 20 + 25) / 24
    assert found.problems[0].needed == pytest.approx(days, abs=0.01)
    assert "max_days: 5" in found.ways_out
    rate = NINE / (100 * (72 - 25))
    assert f"more labels: from {ceil(1000 * rate) / 10:g}% of the units (now 20.0%)" in found.ways_out


def test_units_that_always_come_back_are_too_few_however_long_one_waits() -> None:
    found = forecast_rollout(PLAN, traffic(1_000, 900, late=0, n_requests_with_unit=9_000))
    few = next(p for p in found.problems if p.limit == "units")
    assert (few.needed, few.allowed) == (pytest.approx(NINE / 0.9, abs=0.1), 1_000)
    assert "a finer unit, session or conversation instead of user (9.0 requests came per unit)" in found.ways_out
    fresh = forecast_rollout(PLAN, traffic(1_000, 900, late=500))
    assert "units" not in {p.limit for p in fresh.problems}


AT_160_A_DAY = traffic(11_200, 1_120)  # 1,600 units a day, a tenth of which give a label


def test_a_ladder_that_would_fit_is_named_with_its_days_and_with_the_users_it_reaches_sooner() -> None:
    found = forecast_rollout(LADDER, AT_160_A_DAY)
    assert [p.limit for p in found.problems] == ["max_days"]
    gentle, quick = found.ladders
    assert quick.ladder == (0.5,)
    assert quick.expected.hours == pytest.approx(12 * 24, rel=0.03), "instead of 20 days"
    assert found.expected.hours == pytest.approx(20 * 24, rel=0.02)
    assert quick.first_day_units == pytest.approx(800)
    assert gentle.ladder == (0.25, 0.5), "half as many users at first as on the quickest"
    assert (gentle.first_day_units, gentle.fits) == (pytest.approx(400), True)
    assert any(
        way.startswith("the ladder [0.5] (--ladder 0.5): 12.3 days instead of 20.2 days on average")
        for way in found.ways_out
    )
    assert any("about 800 instead of 160 units on its first day" in way for way in found.ways_out)
    gate = found.gate()
    assert "--ladder 0.5" in gate["reason"]


@pytest.mark.parametrize("at", [0, 1])
def test_a_ladder_that_is_named_fits_when_it_is_asked_for(at: int) -> None:
    way = forecast_rollout(LADDER, AT_160_A_DAY).ladders[at]
    again = forecast_rollout(replace(LADDER, ladder=way.ladder), AT_160_A_DAY)
    assert again.verdict == "fits"
    assert (again.expected, again.nine_in_ten, again.users_exposed) == (
        way.expected,
        way.nine_in_ten,
        pytest.approx(way.units),
    )


def test_where_no_ladder_fits_the_quickest_is_named_as_too_slow() -> None:
    found = forecast_rollout(replace(LADDER, max_hours=120.0), AT_160_A_DAY)
    assert found.ladders == ()
    (said,) = [way for way in found.ways_out if "ladder" in way]
    assert said.startswith("no ladder would be enough by itself; the quickest, [0.5], takes ")


def test_a_rollout_that_fits_or_cannot_be_told_of_names_no_other_ladder() -> None:
    assert forecast_rollout(LADDER, traffic()).ladders == ()
    told = forecast_rollout(replace(LADDER, max_labelled=500), None)
    assert (told.verdict, told.ladders) == ("cannot_tell", ())
    assert not [way for way in told.ways_out if "ladder" in way]


@pytest.mark.parametrize(("judged", "named"), [(9_000, True), (1_000, False)])
def test_an_outcome_that_more_units_give_is_named(judged: int, named: bool) -> None:
    both = {("success", "user"): 1_120, ("score", "judge"): judged}
    ways = forecast_rollout(LADDER, replace(AT_160_A_DAY, n_labelled_units=both)).ways_out
    way = "a denser outcome: rollout.metric {field: score, source: judge}, which 80.4% of the units give (now 10.0%)"
    assert (way in ways) is named
    assert any("a denser outcome" in way for way in ways) is named


def test_a_forecast_that_does_not_fit_is_a_gate_that_fails_with_figures() -> None:
    gate = forecast_rollout(replace(PLAN, max_labelled=1000), traffic()).gate()
    assert (gate["name"], gate["verdict"], gate["required"]) == ("forecast", "fail", 1000)
    assert "Ways out: a margin of" in gate["reason"]
    fits = forecast_rollout(PLAN, traffic()).gate()
    assert (fits["verdict"], fits["required"]) == ("pass", 30.0)


# --- guardrails -------------------------------------------------------------------------------------------------------


def test_requests_until_an_alarm_are_those_of_the_simulated_table_and_minutes_follow_from_the_traffic() -> None:
    """Table C of the design note at 10 %: 438, 95, 25 and 20 candidate requests,
    of which a block of ten seconds holds twenty.
    """
    found = forecast_rollout(LADDER, traffic(n_requests_with_unit=168 * 3600 * 20))
    needed = {a.errors: a.candidate_requests or 0.0 for a in found.guardrails}
    assert needed[0.05] == pytest.approx(438, rel=0.1)
    assert needed[0.10] == pytest.approx(95, rel=0.1)
    assert 10 < needed[0.30] < 25
    assert needed[1.0] < 20
    minutes = {a.errors: a.minutes for a in found.guardrails}
    assert minutes[0.05] == pytest.approx((needed[0.05] / 2 + 40) / 60)
    assert found.warnings == ()


def test_too_little_traffic_for_five_minutes_is_said() -> None:
    found = forecast_rollout(LADDER, traffic(n_requests_with_unit=6_048))  # one request in 100 s
    assert len(found.warnings) == 1
    assert "will not be rolled back within five minutes at this traffic" in found.warnings[0]
    assert (
        "at a share of 10% it gets about 0.3 requests in that time and the guardrail needs about 14"
        in found.warnings[0]
    )


def test_errors_within_the_margin_never_alarm_and_that_is_none_not_infinity() -> None:
    found = forecast_rollout(replace(LADDER, error_margin=0.5), traffic())
    assert [a.candidate_requests is None for a in found.guardrails] == [True, True, True, False]
    assert "Lower guardrails.error_margin" in found.warnings[0]


# --- while it runs ----------------------------------------------------------------------------------------------------


def test_what_is_left_of_a_rollout_counts_from_its_evidence() -> None:
    begun = Progress(
        stage=0, labelled=300, labelled_in_stage=300, grown={1: 1.0}, hours=30.0, stage_hours=30.0, begun=True
    )
    found = forecast_rollout(PLAN, traffic(), begun)
    assert found.expected.labelled == pytest.approx((log(20) + 0.5 - 1.0) / GROWTH)
    assert "more on average" in found.summary


def test_a_gate_that_has_been_passed_waits_for_the_labels_of_its_stage_only() -> None:
    begun = Progress(
        stage=0, labelled=150, labelled_in_stage=150, grown={1: inf}, hours=1.0, stage_hours=1.0, begun=True
    )
    found = forecast_rollout(PLAN, traffic(), begun)
    assert found.expected.labelled == 50
    done = forecast_rollout(PLAN, traffic(), replace(begun, labelled_in_stage=200, hours=100.0))
    assert (done.expected.labelled, done.expected.hours) == (0, 0)


def test_later_stages_only_are_left() -> None:
    begun = Progress(stage=2, labelled=1000, grown={3: inf, 2: inf, 1: 0.0}, hours=50.0, begun=True)
    assert [s.share for s in forecast_rollout(LADDER, traffic(), begun).stages] == [0.5, 0.75]


# --- what it is made for ----------------------------------------------------------------------------------------------


def test_the_assumed_lift_is_the_lower_80_percent_bound_and_0_when_forced() -> None:
    confirmation = {"lift": 0.10, "lift_low": 0.02, "lift_high": 0.18}
    found = lift_of(confirmation, forced=False)
    assert found.value == pytest.approx(0.10 - 0.8416 * 0.16 / 3.92, abs=1e-4)
    assert lift_of({"lift": 0.01, "lift_low": -0.07, "lift_high": 0.09}, forced=False).value == 0
    assert lift_of(confirmation, forced=True).value == 0
    assert lift_of({"n": 0}, forced=False).value == 0


def test_the_plan_is_read_from_the_frozen_settings() -> None:
    settings = fixed_settings(RolloutSettings(), champion="v_a", labels=[])
    plan = plan_of(settings, (0.1, 0.5), Lift())
    assert (plan.min_labelled, plan.max_labelled, plan.max_hours, plan.closing_hours) == (200, 8000, 720.0, 25.0)
    assert (plan.base, plan.field, plan.source) == (0.5, "success", "user")
    fixed = plan_of(
        {**settings, "champion_mean": 0.8, "feedback_window": {"hours": 6.0, "floor_hours": 24.0}}, (0.1,), Lift()
    )
    assert (fixed.base, fixed.closing_hours) == (0.8, 7.0)


def test_no_gain_is_assumed_beyond_what_the_metric_can_reach() -> None:
    settings = fixed_settings(RolloutSettings(margin=0.05), champion="v_b", labels=())
    plan = plan_of({**settings, "champion_mean": 0.8}, (0.5,), Lift(value=0.53))
    assert plan.base + plan.lift.value == pytest.approx(1.0)


def answer(*, kept: bool, edited: float, thumb: float | None = None) -> SignalledAnswer:
    return SignalledAnswer(tags={"kept": kept, "edited": edited}, thumb=thumb)


def test_each_signal_stands_beside_thumbs_with_its_time_and_how_far_it_agrees() -> None:
    rule: dict[Signal, float] = {"kept": 3, "edited": 1}
    both = {("success", "user"): 168, ("score", "system"): 16_800}
    answers = [
        answer(kept=True, edited=0.2, thumb=1.0),
        answer(kept=True, edited=0.6, thumb=1.0),
        answer(kept=False, edited=0.9, thumb=0.0),
        answer(kept=True, edited=0.1, thumb=0.0),
        answer(kept=False, edited=0.7),
        SignalledAnswer(tags={"kept": True}, thumb=1.0),  # not all of the rule, so no outcome
    ]
    thumbs, kept, edited, together = compare_outcomes(PLAN, traffic(n_labelled_units=both), rule, answers)
    assert [each.outcome for each in (thumbs, kept, edited, together)] == ["thumbs", "kept", "edited", "together"]
    assert (thumbs.label_rate, kept.label_rate, together.label_rate) == (0.01, 1.0, 1.0)
    assert (kept.mean, edited.mean) == (pytest.approx(0.6), pytest.approx(0.5))
    assert together.mean == pytest.approx((3 * 0.6 + 0.5) / 4)
    assert [each.n_beside for each in (thumbs, kept, edited, together)] == [None, 4, 4, 4]
    assert (kept.agreement, kept.by_chance) == (0.75, pytest.approx(0.75 * 0.5 + 0.25 * 0.5))
    assert edited.agreement == 0.5  # .6 of the answer changed is bad, and its user liked it
    assert thumbs.nine_in_ten.hours is not None
    assert edited.nine_in_ten.labelled == pytest.approx(NINE)
    assert edited.nine_in_ten.hours == 75.0  # three windows, the least of every rollout
    assert thumbs.nine_in_ten.hours == pytest.approx(thumbs.nine_in_ten.labelled + 25)  # one thumb an hour


def test_what_nobody_gives_has_no_time_and_no_agreement() -> None:
    for recorded in (None, traffic(labelled=0)):
        thumbs, kept = compare_outcomes(PLAN, recorded, {"kept": 1}, [])
        for each in (thumbs, kept):
            assert (each.mean, each.nine_in_ten.hours, each.agreement, each.by_chance) == (None, None, None, None)
