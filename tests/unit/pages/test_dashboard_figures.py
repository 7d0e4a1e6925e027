"""The last day of a family in figures, and where its shapes stand."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.dashboard.figures import WIDTH, LastDays, traffic_bars
from optimizer.adapters.reports.page import difference_chart
from optimizer.core.views.last_day import last_day, serving_cost
from optimizer.core.views.rollout_status import MeanDifference
from optimizer.jobs.champions.read_stats import FamilyRow, StatsRow

BEGIN = datetime(2026, 11, 24, 8, tzinfo=UTC)


def hour(after: int, n: int, *, n_success: int = 0, n_labelled: int = 0, p95_ms: float | None = None) -> StatsRow:
    unknown = {"model": None, "mean_latency_ms": None, "n_scored": 0, "mean_score": None}
    requests = {"n_interactions": n, "n_errors": n // 10, "p95_latency_ms": p95_ms, "cost_usd": 0.5}
    outcomes = {"n_labelled": n_labelled, "n_success": n_success}
    return StatsRow(start=BEGIN + timedelta(hours=after), variant="v", **unknown, **requests, **outcomes)


def test_variants_of_an_hour_are_added_and_the_newest_hour_gives_the_p95() -> None:
    rows = [hour(2, 10, p95_ms=900.0), hour(5, 30, p95_ms=200.0), hour(5, 20, n_success=8, n_labelled=10, p95_ms=300.0)]
    day = last_day(rows, BEGIN)
    assert {day.begin.hour + place: n for place, n in enumerate(day.hours) if n} == {10: 10, 13: 50}
    assert (day.n_interactions, day.error_share, day.p95_ms, day.cost_usd) == (60, 0.1, 300.0, 1.5)
    assert day.p95_hour == BEGIN + timedelta(hours=5)
    assert day.success_share == 0.8
    assert (round(day.success_interval.lower, 3), round(day.success_interval.upper, 3)) == (0.49, 0.943)


def test_what_was_not_measured_is_none_and_no_zero() -> None:
    day = last_day([], BEGIN)
    assert (day.error_share, day.success_share, day.success_interval, day.mean_score, day.p95_ms) == (None,) * 5
    assert (day.score_interval, len(day.hours)) == (None, 24)
    assert traffic_bars(day) == ""


def test_the_interval_of_a_score_is_that_of_a_share_which_spreads_no_less() -> None:
    rows = [replace(hour(2, 10), n_scored=4, mean_score=1.0), replace(hour(3, 10), n_scored=6, mean_score=2 / 3)]
    day = last_day(rows, BEGIN)
    assert day.mean_score == pytest.approx(0.8)
    assert (round(day.score_interval.lower, 3), round(day.score_interval.upper, 3)) == (0.49, 0.943)


def test_the_fullest_hour_fills_the_chart_and_a_single_request_is_seen() -> None:
    first, last = traffic_bars(last_day([hour(0, 1), hour(23, 1000)], BEGIN)).splitlines()
    assert first == '<path data-x="4" d="M4 40V38.0"><title>08:00 UTC: 1 request</title></path>'
    assert last == '<path data-x="234" d="M234 40V0.0"><title>07:00 UTC: 1,000 requests</title></path>'


def test_an_hour_that_begins_while_a_page_is_drawn_is_counted_and_has_no_bar_yet() -> None:
    day = last_day([hour(24, 3)], BEGIN)
    assert (day.n_interactions, max(day.hours)) == (3, 0)


def test_the_interval_stands_around_no_difference_with_the_margin_left_of_it() -> None:
    chart = difference_chart(MeanDifference(observed=0.01, lower=-0.02, upper=0.04), margin=0.03)
    assert 0 < chart.margin < chart.low < chart.zero < chart.observed < chart.high < WIDTH
    assert chart.zero == WIDTH / 2
    wide = difference_chart(MeanDifference(observed=None, lower=-1.0, upper=1.0), margin=0.03)
    assert (wide.low, wide.high, wide.observed) == (0.0, WIDTH, None)


def test_the_cost_of_a_month_is_that_of_all_variants_and_its_last_day_is_one_with_requests() -> None:
    days = [replace(hour(24 * after, n), cost_usd=usd) for after, n, usd in ((0, 4, 2.0), (2, 3, 12.5), (2, 1, 0.25))]
    cost = serving_cost([*days, replace(hour(72, 0), cost_usd=0.5)])
    assert (cost.n_interactions, cost.cost_usd) == (8, 15.25)
    assert (cost.last_day, cost.last_day_usd) == (BEGIN + timedelta(days=2), 12.75)
    none = serving_cost([])
    assert (none.n_interactions, none.cost_usd, none.last_day, none.last_day_usd) == (0, 0, None, 0)


def test_a_template_adds_nothing_up() -> None:
    root = Path(__file__).parents[3]
    templates = [file for place in ("api", "optimizer") for file in (root / place).rglob("templates/*.html")]
    assert len(templates) > 50
    adding = re.compile(r"\|\s*sum\b|_usd \+|\+ [\w.]+_usd\b")
    assert [file.name for file in templates if adding.search(file.read_text(encoding="utf-8"))] == []


def visit_of(hours: list[FamilyRow], *, champion: Any, clock: Any) -> Any:
    """A visit that asks for the statistics of triage: they are refused from a time on that lies ahead of the clock."""
    served = SimpleNamespace(families={"triage": SimpleNamespace(champion=champion)})

    def ask(_: str, *, since: datetime, **by: Any) -> Any:
        assert since <= clock.now(), "statistics of the future are asked for"
        return SimpleNamespace(items=[row for row in hours if row.start >= since], summed_until=clock.now())

    return SimpleNamespace(shared=SimpleNamespace(clock=clock, serving=SimpleNamespace(now_served=served)), ask=ask)


def test_what_was_summed_up_under_a_clock_that_ran_ahead_is_read_again() -> None:
    at = [BEGIN + timedelta(hours=28), BEGIN + timedelta(hours=23)]
    hours = [FamilyRow(family="triage", **asdict(hour(20, 10)))]
    visit = visit_of(hours, champion=SimpleNamespace(since=BEGIN), clock=SimpleNamespace(now=lambda: at[0]))
    days = LastDays()
    assert days.of(visit, ["triage"])["triage"].n_interactions == 10
    at.pop(0)  # the clock is put right
    hours.append(FamilyRow(family="triage", **asdict(hour(23, 5))))
    assert days.of(visit, ["triage"])["triage"].n_interactions == 15


def test_a_new_family_of_a_retired_one_s_name_shows_none_of_its_hours() -> None:
    now, champion = BEGIN + timedelta(hours=23), SimpleNamespace(since=BEGIN)
    hours = [FamilyRow(family="triage", **asdict(hour(2, 10)))]
    visit = visit_of(hours, champion=champion, clock=SimpleNamespace(now=lambda: now))
    days = LastDays()
    assert [days.of(visit, ["triage"])["triage"].n_interactions for _ in range(2)] == [10, 10]
    hours.clear()
    assert days.of(visit, ["triage"])["triage"].n_interactions == 10, "what is over is not read again"
    champion.since = now
    assert days.of(visit, ["triage"])["triage"].n_interactions == 0
