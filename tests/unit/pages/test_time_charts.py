"""Where lines over time and the zones of levels stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.dashboard.time_charts import HEIGHT, MOST_DOTS, WIDTH, target_chart, time_chart
from optimizer.content.core.records.report import TargetStanding

BEGIN = datetime(2026, 11, 24, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def chart(*values: float | None, high: float | None = None):  # type: ignore[no-untyped-def]
    """One value an hour."""
    points = [(BEGIN + place * HOUR, value) for place, value in enumerate(values)]
    end = BEGIN + max(1, len(values) - 1) * HOUR
    return time_chart("Score", "number", {"v": points}, begin=BEGIN, end=end, step=HOUR, high=high)


def test_the_highest_value_stands_at_the_top_and_time_runs_from_left_to_right() -> None:
    made = chart(0.0, 2.0, 1.0)
    assert (made.high, made.lines[0].path) == (2.0, "M0.0 100.0h0L300.0 0.0L600.0 50.0")
    assert [(dot.x, dot.y, dot.value) for dot in made.lines[0].dots][-1] == (WIDTH, HEIGHT / 2, 1.0)


def test_a_share_fills_its_chart_at_1_whatever_was_measured() -> None:
    assert chart(0.5, 0.25, high=1.0).lines[0].path == "M0.0 50.0h0L600.0 75.0"


def test_a_line_is_broken_where_nothing_was_measured_and_where_a_step_is_missing() -> None:
    assert chart(1.0, None, 1.0, high=1.0).lines[0].path == "M0.0 0.0h0M600.0 0.0h0"
    gap = {"v": [(BEGIN, 1.0), (BEGIN + 3 * HOUR, 1.0)]}
    made = time_chart("Score", "number", gap, begin=BEGIN, end=BEGIN + 3 * HOUR, step=HOUR)
    assert made.lines[0].path.count("M") == 2


def test_what_was_not_measured_has_no_top_and_what_was_zero_has_one() -> None:
    assert (chart(None, None).high, chart(None, None).lines[0].path) == (None, "")
    assert (chart(0.0, 0.0).high, chart(0.0, 0.0).lines[0].path) == (0.0, "M0.0 100.0h0L600.0 100.0")


def test_a_long_line_draws_no_dots_and_keeps_its_values() -> None:
    assert len(chart(*[1.0] * MOST_DOTS).lines[0].dots) == MOST_DOTS
    (line,) = chart(*[1.0] * (MOST_DOTS + 1)).lines
    assert (len(line.dots), len(line.values)) == (0, MOST_DOTS + 1)


def test_zones_follow_the_levels_and_the_value_stands_among_them() -> None:
    levels = {"target": 0.6, "warning_low": 0.5, "critical_low": 0.4, "warning_high": 0.8}
    made = target_chart(TargetStanding(value=0.45, status="warning", **levels))
    assert [zone.status for zone in made.zones] == ["critical", "warning", "ok", "warning"]
    assert sum(zone.width for zone in made.zones) == WIDTH
    assert made.zones[1].x < made.value < made.zones[2].x
    assert made.target == 0.6 * WIDTH
    nothing = target_chart(
        TargetStanding(value=None, status="no data", target=None, warning_low=0.5, critical_low=None, warning_high=None)
    )
    assert (nothing.value, nothing.target) == (None, None)
