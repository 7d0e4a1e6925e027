"""Where the shapes of charts over time and beside levels stand: places in a view box, which ``templates/parts.html``
draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from optimizer.content.core.records.report import STATUS, Status, TargetStanding
from optimizer.core.base.values import grouped
from optimizer.core.feedback.pipeline_record import Target

WIDTH, HEIGHT = 600.0, 100.0
MOST_LINES = 4  # that one chart has: more cannot be told apart
MOST_DOTS = 60  # of one line: more cannot be told apart; the script tells every value

Figure = Literal["whole", "share", "number", "ms", "usd"]
Values = Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartDot:
    x: float
    y: float
    at: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartLine:
    """``path``: of what was measured, broken where nothing was; ``values``: all of it; ``dots``: those that are drawn,
    where they are few, each of which says its figure under the pointer.
    """

    name: str
    path: str
    values: Sequence[ChartDot]

    @property
    def dots(self) -> Sequence[ChartDot]:
        return self.values if len(self.values) <= MOST_DOTS else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChart:
    """``high``: the value at its top, above 0; None where nothing was measured. ``figure``: the filter of templates by
    which its values are written.
    """

    title: str
    figure: Figure
    high: float | None
    lines: Sequence[ChartLine]

    @property
    def moments(self) -> Sequence[tuple[float, datetime, Sequence[tuple[str, float]]]]:
        """Each time at which something was measured, from the left: its place, and what by which line."""
        moments = grouped(((one.x, one.at), (line.name, one.value)) for line in self.lines for one in line.values)
        return [(*moment, moments[moment]) for moment in sorted(moments)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetZone:
    x: float
    width: float
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChart:
    """A share between 0 and 1 among the zones of its levels. ``value``, ``target``: None where there is none."""

    zones: Sequence[TargetZone]
    value: float | None
    target: float | None


def time_chart(
    title: str,
    figure: Figure,
    lines: Mapping[str, Values],
    *,
    begin: datetime,
    end: datetime,
    step: timedelta,
    high: float | None = None,
) -> TimeChart:
    """Lines from ``begin`` to ``end`` above zero. A line is broken where a value is None or a step is missing.

    Args:
        high: the value at the top; None: the highest that was measured.
    """
    measured = [value for points in lines.values() for _, value in points if value is not None]
    top = max(measured, default=0.0) if high is None else high
    span = max((end - begin).total_seconds(), 1.0)

    def place(at: datetime, value: float) -> tuple[float, float]:
        x = min(1.0, max(0.0, (at - begin).total_seconds() / span))
        return WIDTH * x, HEIGHT - HEIGHT * (min(value / top, 1.0) if top else 0.0)

    return TimeChart(
        title=title,
        figure=figure,
        high=top if measured else None,
        lines=[
            ChartLine(name=name, path=_path(points, place, step), values=_values(points, place))
            for name, points in lines.items()
        ],
    )


def _path(points: Values, place: Callable[[datetime, float], tuple[float, float]], step: timedelta) -> str:
    """A value alone is a stroke without length, which its round ends make a dot."""
    parts, before = [], None
    for at, value in points:
        if value is None:
            before = None
            continue
        x, y = place(at, value)
        goes_on = before is not None and at - before <= step
        parts.append(f"L{x:.1f} {y:.1f}" if goes_on else f"M{x:.1f} {y:.1f}h0")
        before = at
    return "".join(parts)


def _values(points: Values, place: Callable[[datetime, float], tuple[float, float]]) -> list[ChartDot]:
    measured = ((*place(at, value), at, value) for at, value in points if value is not None)
    return [ChartDot(x=x, y=y, at=at, value=value) for x, y, at, value in measured]


def target_chart(standing: TargetStanding) -> TargetChart:
    """The zones from 0 to 1, in the order of the scale."""
    levels = Target(
        warning_low=standing.warning_low, critical_low=standing.critical_low, warning_high=standing.warning_high
    )
    inner = (levels.critical_low, levels.warning_low, levels.warning_high)
    edges = sorted({0.0, 1.0, *(level for level in inner if level is not None and 0 < level < 1)})
    return TargetChart(
        zones=[
            TargetZone(x=WIDTH * low, width=WIDTH * (high - low), status=STATUS[levels.colour((low + high) / 2)])
            for low, high in pairwise(edges)
        ],
        value=None if standing.value is None else WIDTH * min(1.0, max(0.0, standing.value)),
        target=None if standing.target is None else WIDTH * standing.target,
    )
