"""The figures of docs/how-to/choose-a-margin.md are those of the forecast."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from optimizer.core.family.settings import RolloutSettings
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.forecast import RolloutForecast, forecast_rollout
from optimizer.core.forecast.plan import Lift, plan_of

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "choose-a-margin.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in row.split("|")] for row in re.findall(r"^\| (\.\d+ \|.*) \|$", PAGE, re.MULTILINE)]
UNTIL = datetime(2026, 1, 8, tzinfo=UTC)
WEEK = RecordedTraffic(
    since=UNTIL - timedelta(days=7),
    until=UNTIL,
    n_requests=35_000,
    n_requests_with_unit=35_000,
    n_units=35_000,
    n_late_units=17_500,
    n_labelled_units={("success", "user"): 7_000},
)


def forecast(margin: float) -> RolloutForecast:
    settings = RolloutSettings(margin=margin).model_dump(mode="json") | {"champion_mean": 0.8}
    return forecast_rollout(plan_of(settings, settings["ladder"], Lift()), WEEK)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_what_the_forecast_says(row: list[str]):
    found = forecast(float(row[0]))
    labels = [f"{need.labelled:,.0f}" for need in (found.expected, found.nine_in_ten)]
    days = [f"{(need.hours or 0) / 24:.1f}" for need in (found.expected, found.nine_in_ten)]
    assert row[1:6] == [*labels, *days, f"{found.users_exposed:,.0f}"]
    assert row[6].startswith("yes") == (found.verdict == "fits")


def test_the_page_has_the_four_margins():
    assert [row[0] for row in ROWS] == [".10", ".05", ".02", ".01"]


def test_the_smallest_margin_that_fits_is_the_one_on_the_page():
    way = next(way for way in forecast(0.02).ways_out if way.startswith("a margin of"))
    assert f"is {way.split()[3].removeprefix('0')};" in PAGE
