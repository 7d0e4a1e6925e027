"""Small plots as HTML with inline SVG: lines that stretch with the page, text that does not.

Made by hand: plotly's script alone weighs 4.6 MB, too much for a page that is mailed and kept per rollout, and this one also prints.
The SVG holds only shapes and is stretched (``preserveAspectRatio="none"``, strokes keep their width); ticks and labels are HTML beside it, placed
in percent, so that they are as readable on a telephone as on a wide screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

SIZE = 1000.0  # units of the view box in both directions
MAX_POINTS = 500  # of one line; beyond, the highest and lowest of each stretch stay
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: float
    text: str


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
    """Between (x, low, high); each value holds until the next x."""

    points: Sequence[tuple[float, float, float]]
    kind: str = "band"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """``about`` is shown under the pointer; it is text."""

    x: float
    y: float
    kind: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """``x`` and ``y``: the ranges shown; what lies outside is cut off at the edge. ``marks``: vertical lines."""

    title: str  # HTML
    about: str  # what it shows, for who cannot see it
    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_label: str
    lines: Sequence[Line] = ()
    rules: Sequence[GuideLine] = ()
    bands: Sequence[Band] = ()
    dots: Sequence[Dot] = ()
    marks: Sequence[float] = ()
    tall: bool = False


def figure(plot: Plot) -> str:
    """The plot as one ``<figure>``."""
    shapes = [_grid(plot, tick.at) for tick in plot.y_ticks if _inside(tick.at, plot.y)]
    shapes += [_band(plot, band) for band in plot.bands]
    shapes += [f'<path class="mark" d="M{_x(plot, at):.1f} 0V{SIZE:.0f}"/>' for at in plot.marks]
    shapes += [f'<path class="{rule.kind}" d="M0 {_y(plot, rule.y):.1f}H{SIZE:.0f}"/>' for rule in plot.rules]
    shapes += [_line(plot, line) for line in plot.lines if line.points]
    shapes += [_dot(plot, dot) for dot in plot.dots]
    y_ticks = "".join(
        f'<span style="top:{_y(plot, t.at) / SIZE:.2%}">{escape(t.text)}</span>' for t in plot.y_ticks if _inside(t.at, plot.y)
    )
    x_ticks = "".join(_x_tick(plot, t) for t in plot.x_ticks if _inside(t.at, plot.x))
    tall = " tall" if plot.tall else ""
    return (
        f'<figure class="plot{tall}"><figcaption>{plot.title}</figcaption><div class="y">{y_ticks}</div>'
        f'<svg viewBox="0 0 {SIZE:.0f} {SIZE:.0f}" preserveAspectRatio="none" role="img" aria-label="{escape(plot.about)}">{"".join(shapes)}</svg>'
        f'<div class="x">{x_ticks}</div><div class="label">{escape(plot.x_label)}</div></figure>'
    )


def nice_ticks(low: float, high: float, n: int = 3) -> list[float]:
    """At least ``n`` round values within [low, high], as few as that allows."""
    if high <= low:
        return [low]
    power = 10.0 ** floor(log10(high - low))
    for step in (power * m for m in (5, 2, 1, 0.5, 0.2)):
        ticks = range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)
        if len(ticks) >= n:
            break
    return [round(i * step, 10) for i in ticks]


def count_ticks(high: float) -> list[Tick]:
    return [Tick(at=at, text=f"{at:,.0f}") for at in nice_ticks(0, high)]


def score_ticks(low: float, high: float) -> list[Tick]:
    return [Tick(at=at, text=f"{at:g}") for at in nice_ticks(low, high)]


def hour_ticks(high: float) -> tuple[list[Tick], str]:
    """(ticks, unit) of a stretch of ``high`` hours; the ticks are placed in hours."""
    for unit, hours in (("days", 24.0), ("hours", 1.0), ("minutes", 1 / 60)):
        if high >= 2 * hours or unit == "minutes":
            return [Tick(at=at * hours, text=f"{at:g}") for at in nice_ticks(0, high / hours)], unit
    raise AssertionError


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most about MAX_POINTS of them; of each stretch its first, lowest, highest and last stay, so that no peak is lost."""
    if len(points) <= MAX_POINTS:
        return list(points)
    width = ceil(4 * len(points) / MAX_POINTS)
    found: list[Point] = []
    for start in range(0, len(points), width):
        part = points[start : start + width]
        kept = {0, len(part) - 1, min(range(len(part)), key=lambda i: part[i][1]), max(range(len(part)), key=lambda i: part[i][1])}
        found += [part[i] for i in sorted(kept)]
    return found


def _line(plot: Plot, line: Line) -> str:
    points = [(_x(plot, x), _y(plot, y)) for x, y in thinned(line.points)]
    path = _steps(points) if line.steps else "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    area = f'<path class="{line.kind} area" d="{path}V{SIZE:.0f}H{points[0][0]:.1f}Z"/>' if line.filled else ""
    return f'{area}<path class="{line.kind} line" d="{path}"/>'


def _dot(plot: Plot, dot: Dot) -> str:
    """A line without length and with round ends: a circle would be stretched."""
    title = f"<title>{escape(dot.about)}</title>"
    return f'<path class="{dot.kind} dot" d="M{_x(plot, dot.x):.1f} {_y(plot, dot.y):.1f}h0">{title}</path>'


def _steps(points: Iterable[Point]) -> str:
    first, *rest = points
    return f"M{first[0]:.1f} {first[1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest)


def _band(plot: Plot, band: Band) -> str:
    if not band.points:
        return ""
    upper = [(_x(plot, x), _y(plot, high)) for x, _, high in band.points]
    lower = [(_x(plot, x), _y(plot, low)) for x, low, _ in band.points]
    back = "".join(f"V{y:.1f}H{x:.1f}" for x, y in lower[-2::-1])
    return f'<path class="{band.kind}" d="{_steps(upper)}{back}Z"/>'


def _grid(plot: Plot, at: float) -> str:
    return f'<path class="grid" d="M0 {_y(plot, at):.1f}H{SIZE:.0f}"/>'


def _x_tick(plot: Plot, tick: Tick) -> str:
    share = _x(plot, tick.at) / SIZE
    edge = " first" if share < 0.04 else " last" if share > 0.96 else ""
    return f'<span class="tick{edge}" style="left:{share:.2%}">{escape(tick.text)}</span>'


def _x(plot: Plot, x: float) -> float:
    return SIZE * _share(x, plot.x)


def _y(plot: Plot, y: float) -> float:
    return SIZE * (1 - _share(y, plot.y))


def _share(value: float, of: tuple[float, float]) -> float:
    low, high = of
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


def _inside(value: float, of: tuple[float, float]) -> bool:
    return of[0] - 1e-9 <= value <= of[1] + 1e-9
