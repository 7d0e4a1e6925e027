"""A forecast is never negative, never silently infinite, and more traffic never makes a rollout end later."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import Need, RolloutForecast, forecast_rollout
from optimizer.core.forecast.plan import ForecastPlan, Lift

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LADDERS = ((0.5,), (0.1, 0.5), (0.1, 0.25, 0.5, 0.75), (0.01, 0.99))


@st.composite
def plans(draw: st.DrawFn) -> ForecastPlan:
    return ForecastPlan(
        ladder=draw(st.sampled_from(LADDERS)),
        margin=draw(st.floats(0.005, 0.3)),
        base=draw(st.floats(0.001, 0.999)),
        base_why="",
        lift=Lift(value=draw(st.floats(0, 0.5))),
        field="success",
        source="user",
        min_labelled=draw(st.integers(1, 500)),
        max_labelled=draw(st.integers(1, 20_000)),
        max_hours=draw(st.floats(1, 1000)),
        min_duration_hours=draw(st.floats(0, 200)),
        whole_hours=draw(st.sampled_from((0.0, 24.0, 168.0))),
        dwell_hours=draw(st.floats(0, 50)),
        cohort_hours=draw(st.floats(0, 24)),
        closing_hours=draw(st.floats(0, 200)),
        error_margin=draw(st.floats(0, 0.9)),
        clock_scale=draw(st.sampled_from((1.0, 60.0))),
    )


@st.composite
def traffics(draw: st.DrawFn) -> RecordedTraffic:
    units = draw(st.integers(0, 10**6))
    return RecordedTraffic(
        since=NOW - timedelta(hours=draw(st.floats(0, 720))),
        until=NOW,
        n_requests=10**7,
        n_requests_with_unit=draw(st.integers(units, 10**7)),
        n_units=units,
        n_late_units=draw(st.integers(0, units)),
        n_labelled_units={("success", "user"): draw(st.integers(0, units))},
    )


def _needs(found: RolloutForecast) -> list[Need]:
    assert found.expected is not None
    assert found.nine_in_ten is not None
    return [found.expected, found.nine_in_ten, *(n for s in found.stages for n in (s.expected, s.nine_in_ten))]


@given(plans(), traffics() | st.none())
def test_figures_are_never_negative_and_can_be_written_as_json(plan, traffic):
    found = forecast_rollout(plan, traffic)
    json.dumps(asdict(found), allow_nan=False)
    for need in _needs(found):
        assert all(value is None or value >= 0 for value in (need.labelled, need.units, need.hours))
    assert all(alarm.minutes is None or alarm.minutes > 0 for alarm in found.guardrails)
    assert (found.verdict == "cannot_tell") == bool(found.missing)
    assert found.refuses == (not found.missing and bool(found.problems))


@given(plans(), traffics(), st.integers(2, 50))
def test_more_traffic_never_makes_it_later(plan: ForecastPlan, traffic: RecordedTraffic, times: int) -> None:
    labelled = {metric: times * n for metric, n in traffic.n_labelled_units.items()}
    more = replace(
        traffic,
        n_requests=times * traffic.n_requests,
        n_requests_with_unit=times * traffic.n_requests_with_unit,
        n_units=times * traffic.n_units,
        n_late_units=times * traffic.n_late_units,
        n_labelled_units=labelled,
    )
    before, after = forecast_rollout(plan, traffic), forecast_rollout(plan, more)
    for few, many in zip(_needs(before), _needs(after), strict=True):
        assert few.labelled == many.labelled
        if few.hours is not None:
            assert many.hours <= few.hours * (1 + 1e-9)
    assert not (before.verdict == "fits" and after.verdict == "exceeds")


@given(plans(), st.floats(1, 5))
def test_a_larger_margin_never_needs_more_labels_for_one_gate(plan: ForecastPlan, times: float) -> None:
    """Of one stage: over several, a gate that is passed sooner leaves less evidence for the next."""
    one = replace(plan, ladder=(0.5,))
    narrow, wide = (
        forecast_rollout(p, None).expected for p in (one, replace(one, margin=min(0.99, one.margin * times)))
    )
    assert narrow.labelled is None or wide.labelled <= narrow.labelled * (1 + 1e-9)
