"""The plots of what each threshold of a cascade does: its recorded tier answers, replayed at other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optimizer.adapters.reports.plots import Band, Dot, GuideLine, Line, Plot, axis
from optimizer.core.base.phrasing import threshold
from optimizer.core.search.cascade.figures import CascadeCurves, Figure, ThresholdCurve, ThresholdPoint

ROOM = 0.08  # of an axis, beyond the outermost values
N_ROWS = 9  # of the table; the plots show every value


def plots(curve: ThresholdCurve, cascade: CascadeCurves) -> list[Plot]:
    """What is lost, quality, dollars and escalations at every value of one threshold."""
    loss_name, margin = "Points lost against the strongest tier", 100 * cascade.margin
    return [
        _plot(curve, loss_name, lambda p: p.loss, 100, rules=[GuideLine(y=margin)]),
        _plot(curve, "Quality", lambda p: p.quality, 1),
        _plot(curve, "Dollars per 1,000 requests", lambda p: p.cost_usd, 1000),
        _plot(curve, "Share escalated, %", lambda p: p.escalated_share, 100),
    ]


def shown(curve: ThresholdCurve) -> Sequence[ThresholdPoint]:
    """The rows of its table: evenly through the values; the first, the last and the chosen one stay."""
    last = len(curve.points) - 1
    places = {round(at * last / (N_ROWS - 1)) for at in range(N_ROWS)}
    return [point for at, point in enumerate(curve.points) if at in places or point.value == curve.present]


def _plot(
    curve: ThresholdCurve,
    title: str,
    read: Callable[[ThresholdPoint], Figure | float],
    times: float,
    rules: Sequence[GuideLine] = (),
) -> Plot:
    points = [(point.value, read(point)) for point in curve.points]
    means = [(x, times * (y.mean if isinstance(y, Figure) else y)) for x, y in points]
    band = [(x, times * y.low, times * y.high) for x, y in points if isinstance(y, Figure)]
    every = [y for _, y in means] + [y for _, *ends in band for y in ends] + [rule.y for rule in rules]
    room = ROOM * (max(every) - min(every)) or abs(max(every)) * ROOM or 0.01
    here = [(x, y) for x, y in means if x == curve.present][:1]
    value = "".join(f"at {threshold(x)}: {_text(y)}" for x, y in here)
    value += "".join([f" ({_text(low)} to {_text(high)})" for x, low, high in band if x == curve.present][:1])
    return Plot(
        title=title,
        value=value,
        about=f"{title} by {curve.knob.name} of {curve.tier}",
        x=axis(points[0][0], points[-1][0], label=curve.knob.name),
        y=axis(min(every) - room, max(every) + room, _text),
        bands=[Band(points=band)],
        lines=[Line(points=means, kind="observed", steps=True)],
        rules=rules,
        marks=[x for x, _ in here],
        dots=[Dot(x=x, y=y, kind="candidate", about=value) for x, y in here],
        tall=True,
    )


def _text(value: float) -> str:
    return f"{value:.3g}"
