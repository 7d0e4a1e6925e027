"""The plots of a report: round ticks, no lost peak, nothing drawn outside its frame."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from optimizer.adapters.reports.plots import (
    MAX_POINTS,
    Axis,
    Band,
    GuideLine,
    Line,
    Plot,
    Tick,
    figure,
    hour_ticks,
    nice_ticks,
    thin,
)
from optimizer.adapters.reports.rollout_plots import timeline
from tests.stores import NOW, rollout


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        pytest.param(0, 2157, [0, 1000, 2000], id="thousands"),
        pytest.param(0.72, 0.91, [0.75, 0.8, 0.85, 0.9], id="means"),
        pytest.param(-0.4, 0.4, [-0.4, -0.2, 0.0, 0.2, 0.4], id="differences"),
        pytest.param(0, 7, [0, 2, 4, 6], id="few"),
        pytest.param(3, 3, [3], id="no range"),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_every_range_has_three_to_seven_ticks_inside_it(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    assert 3 <= len(ticks) <= 7
    assert all(low - 1e-6 * width <= t <= low + width * (1 + 1e-6) for t in ticks)


@pytest.mark.parametrize(
    ("hours", "unit"), [(0.01, "minutes"), (1.5, "minutes"), (2, "hours"), (40, "hours"), (48, "days"), (700, "days")]
)
def test_time_is_told_in_the_unit_that_fits(hours: float, unit: str) -> None:
    ticks, found = hour_ticks(hours)
    assert found == unit
    assert all(0 <= t.at <= hours * 1.0001 for t in ticks)


def test_a_long_line_is_thinned_without_losing_its_highest_and_lowest_points() -> None:
    points = [(float(i), 0.0) for i in range(50_000)]
    points[31_234] = (31_234.0, 9.0)
    points[777] = (777.0, -9.0)
    kept = thin(points)
    assert len(kept) <= MAX_POINTS + 4
    assert (31_234.0, 9.0) in kept
    assert (777.0, -9.0) in kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert kept == sorted(kept)


def test_what_lies_outside_the_ranges_is_cut_off_at_the_edge_and_a_tick_outside_is_left_out() -> None:
    drawn = figure(
        Plot(
            title="t",
            about="a & b",
            x=Axis(low=0.0, high=10.0, ticks=[Tick(at=5.0, text="5")], label="x"),
            y=Axis(low=0.0, high=1.0, ticks=[Tick(at=2.0, text="far")]),
            rules=[GuideLine(y=7.0)],
            bands=[Band(points=[(0.0, -3.0, 3.0), (5.0, 0.2, 0.4), (10.0, 0.2, 0.4)])],
            lines=[Line(points=[(-5.0, -5.0), (50.0, 50.0)], kind="evidence")],
        )
    )
    numbers = [float(n) for path in re.findall(r' d="([^"]+)"', drawn) for n in re.findall(r"-?\d+\.?\d*", path)]
    assert numbers
    assert all(0.0 <= n <= 1000.0 for n in numbers)
    assert "far" not in drawn
    assert 'aria-label="a &amp; b"' in drawn


def test_a_band_holds_each_value_until_the_next_point() -> None:
    drawn = figure(
        Plot(
            title="t",
            about="a",
            x=Axis(low=0.0, high=10.0, ticks=[]),
            y=Axis(low=0.0, high=10.0, ticks=[]),
            bands=[Band(points=[(0.0, 1.0, 9.0), (5.0, 3.0, 7.0), (10.0, 4.0, 6.0)])],
        )
    )
    assert 'd="M0.0 100.0H500.0V300.0H1000.0V400.0V700.0H500.0V900.0H0.0Z"' in drawn


@pytest.mark.parametrize(
    ("stages", "ended", "points"),
    [
        pytest.param([(0.1, 0, 10), (0.5, 10, None)], None, [(0, 0.1), (10, 0.5), (30, 0.5)], id="an advance"),
        pytest.param(
            [(0.1, 0, 10), (0.1, 12, None)], None, [(0, 0.1), (10, 0), (12, 0.1), (30, 0.1)], id="a lapsed lease"
        ),
        pytest.param(
            [(0.1, 0, 0), (0.1, 2, None)], None, [(0, 0), (2, 0.1), (30, 0.1)], id="a lease that lapsed at once"
        ),
        pytest.param([(0.1, 0, 10)], ("promoted", 10), [(0, 0.1), (10, 1), (10.6, 1)], id="a promotion"),
        pytest.param([(0.1, 0, 10)], ("worse", 10), [(0, 0.1), (10, 0), (10.6, 0)], id="a rollback"),
    ],
)
def test_a_share_falls_to_none_only_while_the_candidate_was_not_served(
    stages: list[tuple[float, int, int | None]], ended: tuple[str, int] | None, points: list[tuple[float, float]]
) -> None:
    def at(hour: int | None) -> str | None:
        return (NOW + timedelta(hours=hour)).isoformat() if hour is not None else None

    history = tuple({"share": share, "from": at(begin), "to": at(end)} for share, begin, end in stages)
    changes = {"outcome": ended[0], "ended_at": NOW + timedelta(hours=ended[1])} if ended else {}
    served = rollout(stage_history=history, started_at=NOW, **changes)
    report: Any = SimpleNamespace(rollout=served, made_at=NOW + timedelta(hours=30))
    assert [(round(hour, 6), share) for hour, share in timeline(report).lines[0].points] == points
