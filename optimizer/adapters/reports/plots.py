"""Small plots as HTML with inline SVG: lines that stretch with the page, text that does not.

Made by hand: the script of a plotting library weighs megabytes, too much for a page that is mailed and kept per
rollout, and this one also prints. The SVG holds only shapes and is stretched (``preserveAspectRatio="none"``, strokes
keep their width); ticks and labels are HTML beside it, placed in percent, so that they are as readable on a telephone
as on a wide screen. ``templates/plot.html`` is the markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

from optimizer.adapters.reports.page import part

SIZE = 1000.0  # units of the view box in both directions
MAX_POINTS = 500  # of one line; with more, the highest and lowest of each stretch stay
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The range shown; what lies outside is cut off at the edge, and its ticks are left out."""

    low: float
    high: float
    ticks: Sequence[Tick]
    label: str = ""

    def share(self, value: float) -> float:
        """How far along the axis, in [0, 1]."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low))) if self.high > self.low else 0.0

    def shown(self) -> list[Tick]:
        return [tick for tick in self.ticks if self.low - 1e-9 <= tick.at <= self.high + 1e-9]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``kind`` is its CSS class: champion, candidate, evidence, observed."""

    points: Sequence[Point]
    kind: str
    steps: bool = False
    filled: bool = False  # down to the bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideLine:
    """A horizontal line across the plot."""

    y: float
    kind: str = "threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The area between (x, low, high); each value holds until the next x."""

    points: Sequence[tuple[float, float, float]]
    kind: str = "band"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """``about`` is shown under the pointer."""

    x: float
    y: float
    kind: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a colour or a stroke means; ``kind`` holds CSS classes, "" for the colour of text."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Its text in a template is its ``<figure>``. ``marks``: vertical lines."""

    title: str
    value: str = ""  # below the title: what came out
    reached: bool = False  # whether ``value`` is the end of what the plot shows
    keys: Sequence[Key] = ()
    about: str  # what it shows, for who cannot see it
    x: Axis
    y: Axis
    lines: Sequence[Line] = ()
    rules: Sequence[GuideLine] = ()
    bands: Sequence[Band] = ()
    dots: Sequence[Dot] = ()
    marks: Sequence[float] = ()
    tall: bool = False

    def __html__(self) -> str:
        return figure(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    kind: str
    path: str
    about: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TickLabel:
    """A tick's text and place from the left or the top; ``edge``: CSS class of one that would reach over the end."""

    text: str
    place: str
    edge: str = ""


def figure(plot: Plot) -> Markup:
    """The plot as one ``<figure>``."""
    shapes = [_Shape(kind="grid", path=f"M0 {_y(plot, tick.at):.1f}H{SIZE:.0f}") for tick in plot.y.shown()]
    shapes += [_band(plot, band) for band in plot.bands if band.points]
    shapes += [_Shape(kind="mark", path=f"M{_x(plot, at):.1f} 0V{SIZE:.0f}") for at in plot.marks]
    shapes += [_Shape(kind=rule.kind, path=f"M0 {_y(plot, rule.y):.1f}H{SIZE:.0f}") for rule in plot.rules]
    shapes += [shape for line in plot.lines if line.points for shape in _line(plot, line)]
    # A line without length and with round ends: a circle would be stretched.
    shapes += [
        _Shape(kind=f"{dot.kind} dot", path=f"M{_x(plot, dot.x):.1f} {_y(plot, dot.y):.1f}h0", about=dot.about)
        for dot in plot.dots
    ]
    y_ticks = [_TickLabel(text=tick.text, place=f"{_y(plot, tick.at) / SIZE:.2%}") for tick in plot.y.shown()]
    x_ticks: list[_TickLabel] = []
    for tick in plot.x.shown():
        share = _x(plot, tick.at) / SIZE
        edge = " first" if share < 0.04 else " last" if share > 0.96 else ""
        x_ticks.append(_TickLabel(text=tick.text, place=f"{share:.2%}", edge=edge))
    return part("plot.html", plot=plot, shapes=shapes, x_ticks=x_ticks, y_ticks=y_ticks, size=f"{SIZE:.0f}")


def nice_ticks(low: float, high: float, n: int = 3) -> list[float]:
    """At least ``n`` round values within [low, high], and few more."""
    if high <= low:
        return [low]
    power = 10.0 ** floor(log10(high - low))
    for step in (power * m for m in (5, 2, 1, 0.5, 0.2)):
        ticks = range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)
        if len(ticks) >= n:
            break
    return [round(i * step, 10) for i in ticks]


def axis(low: float, high: float, text: Callable[[float], str] = "{:g}".format, label: str = "", n: int = 3) -> Axis:
    """An axis with at least ``n`` round ticks."""
    return Axis(low=low, high=high, ticks=[Tick(at=at, text=text(at)) for at in nice_ticks(low, high, n)], label=label)


def counts(high: float, label: str) -> Axis:
    return axis(0.0, high, "{:,.0f}".format, label)


def differences(reach: float, text: Callable[[float], str]) -> Axis:
    """An axis that reaches as far below 0 as above it."""
    return axis(-reach, reach, lambda at: text(at) if at else "0")


def hour_ticks(high: float) -> tuple[list[Tick], str]:
    """(ticks, unit) of a stretch of ``high`` hours; the ticks are placed in hours."""
    for unit, hours in (("days", 24.0), ("hours", 1.0), ("minutes", 1 / 60)):
        if high >= 2 * hours or unit == "minutes":
            return [Tick(at=at * hours, text=f"{at:g}") for at in nice_ticks(0, high / hours)], unit
    raise AssertionError


def thin(points: Sequence[Point]) -> list[Point]:
    """About MAX_POINTS points at most; each stretch keeps its first, lowest, highest and last, so that no
    peak is lost.
    """
    if len(points) <= MAX_POINTS:
        return list(points)
    width = ceil(4 * len(points) / MAX_POINTS)
    chosen: list[Point] = []
    for start in range(0, len(points), width):
        part = points[start : start + width]
        heights = [y for _, y in part]
        places = {0, len(part) - 1, heights.index(min(heights)), heights.index(max(heights))}
        chosen += [part[i] for i in sorted(places)]
    return chosen


def _line(plot: Plot, line: Line) -> list[_Shape]:
    points = [(_x(plot, x), _y(plot, y)) for x, y in thin(line.points)]
    path = _steps(points) if line.steps else "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    area = [_Shape(kind=f"{line.kind} area", path=f"{path}V{SIZE:.0f}H{points[0][0]:.1f}Z")] if line.filled else []
    return [*area, _Shape(kind=f"{line.kind} line", path=path)]


def _steps(points: Iterable[Point]) -> str:
    first, *rest = points
    return f"M{first[0]:.1f} {first[1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest)


def _band(plot: Plot, band: Band) -> _Shape:
    upper = [(_x(plot, x), _y(plot, high)) for x, _, high in band.points]
    lower = [(_x(plot, x), _y(plot, low)) for x, low, _ in band.points]
    back = "".join(f"V{y:.1f}H{x:.1f}" for x, y in lower[-2::-1])
    return _Shape(kind=band.kind, path=f"{_steps(upper)}{back}Z")


def _x(plot: Plot, x: float) -> float:
    return SIZE * plot.x.share(x)


def _y(plot: Plot, y: float) -> float:
    return SIZE * (1 - plot.y.share(y))
