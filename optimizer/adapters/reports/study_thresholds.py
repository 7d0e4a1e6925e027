"""What each threshold of a cascade does, as plots of a study's report: its recorded tier answers, replayed at other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from optimizer.adapters.reports.plots import Band, Dot, GuideLine, Line, Plot, Tick, figure, nice_ticks
from optimizer.core.base.phrasing import count, threshold
from optimizer.core.search.cascade.curves import CascadeCurves, ThresholdCurve, ThresholdPoint
from optimizer.core.search.cascade.weighted import Figure

ROOM = 0.08  # of an axis, beyond the outermost values
N_ROWS = 9  # of the table; the plots show every value


def introduction(found: CascadeCurves) -> str:
    missing = f" {count(found.n_incomplete, 'example')} more lack a tier and are left out." if found.n_incomplete else ""
    if found.variant is None:
        whose = "of the cheapest tier before the strongest, since no thresholds were found that could be marked"
    elif found.is_found:
        whose = f"around those that the search found, of {found.variant}; they are marked"
    else:
        whose = f"around those of the champion {found.variant}, which are marked, since the search found none"
    return (
        f"{' > '.join(found.tiers)} replayed on {count(found.n_records, 'example')} outside the holdout that every tier answered, without a call, one threshold at a "
        f"time, {whose}. Bands are 95 % intervals of one value on its own. The dashed line is the margin of {100 * found.margin:.2g} points: "
        f"of what the search proposes the boldest has a one-sided 90 % bound below it.{missing}"
    )


def plots(curve: ThresholdCurve, found: CascadeCurves) -> list[Markup]:
    """What is lost, quality, dollars and escalations at every value of one threshold."""
    return [
        _plot(curve, "Points lost against the strongest tier", lambda p: p.loss, 100, _number, rule=100 * found.margin),
        _plot(curve, "Quality", lambda p: p.quality, 1, _number),
        _plot(curve, "Dollars per 1,000 requests", lambda p: p.cost_usd, 1000, _number),
        _plot(curve, "Share escalated, %", lambda p: p.escalated_share, 100, _number),
    ]


def shown(curve: ThresholdCurve) -> Sequence[ThresholdPoint]:
    """The rows of its table: evenly through the values; the first, the last and the chosen one stay."""
    last = len(curve.points) - 1
    kept = {round(at * last / (N_ROWS - 1)) for at in range(N_ROWS)}
    return [point for at, point in enumerate(curve.points) if at in kept or point.value == curve.present]


def _plot(
    curve: ThresholdCurve,
    title: str,
    read: Callable[[ThresholdPoint], Figure | float],
    times: float,
    shown: Callable[[float], str],
    *,
    rule: float | None = None,
) -> Markup:
    points = [(point.value, read(point)) for point in curve.points]
    means = [(x, times * (y.mean if isinstance(y, Figure) else y)) for x, y in points]
    band = [(x, times * y.low, times * y.high) for x, y in points if isinstance(y, Figure)]
    every = [y for _, y in means] + [y for _, *ends in band for y in ends] + ([rule] if rule is not None else [])
    room = ROOM * (max(every) - min(every)) or abs(max(every)) * ROOM or 0.01
    y = (min(every) - room, max(every) + room)
    x = (points[0][0], points[-1][0])
    here = next(((at, value) for at, value in means if at == curve.present), None)
    ends = next(((low, high) for at, low, high in band if at == curve.present), None)
    value = ""
    if here is not None:
        interval = f" ({shown(ends[0])} to {shown(ends[1])})" if ends is not None else ""
        value = f"at {threshold(here[0])}: {shown(here[1])}{interval}"
    return figure(
        Plot(
            title=title, value=value, about=f"{title} by {curve.knob.name} of {curve.tier}",
            x=x, y=y, x_ticks=[Tick(at=at, text=f"{at:g}") for at in nice_ticks(*x)], y_ticks=[Tick(at=at, text=shown(at)) for at in nice_ticks(*y)],
            x_label=curve.knob.name, bands=[Band(points=band)] if band else [], lines=[Line(points=means, kind="observed", steps=True)],
            rules=[GuideLine(y=rule)] if rule is not None else [], marks=[here[0]] if here is not None else [],
            dots=[Dot(x=here[0], y=here[1], kind="candidate", about=value)] if here is not None else [], tall=True,
        )
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.3g}"
