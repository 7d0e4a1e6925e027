"""What each threshold of a cascade does, as plots and a table of a study's report: its recorded tier answers, replayed at other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from optimizer.adapters.reports.page import share_cell, table
from optimizer.adapters.reports.plots import Band, Dot, GuideLine, Line, Plot, Tick, figure, nice_ticks
from optimizer.core.base.phrasing import count, dollars, threshold
from optimizer.core.search.cascade.curves import CascadeCurves, ThresholdCurve, ThresholdPoint
from optimizer.core.search.cascade.weighted import Figure

ROOM = 0.08  # of an axis, beyond the outermost values
N_ROWS = 9  # of the table; the plots show every value
COLUMNS = ("Value", "Quality", "Points lost", "Dollars per 1,000 requests", "Escalated")


def thresholds(found: CascadeCurves) -> str:
    """A part per threshold, then what has no curve and why."""
    drawn = "".join(_part(curve, found) for curve in found.curves)
    without = "".join(
        f"<li><code>{escape(knob.name)}</code>: {escape(knob.meaning)} {escape(why[:1].upper() + why[1:])}.</li>"
        for knob, why in found.not_replayed
    )
    return f"<p>{escape(_introduction(found))}</p>{drawn}<h3>Without a curve</h3><ul>{without}</ul>"


def _introduction(found: CascadeCurves) -> str:
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


def _part(curve: ThresholdCurve, found: CascadeCurves) -> str:
    name = f"<code>{escape(curve.knob.name)}</code> of {escape(curve.tier)}"
    word = "chosen" if found.is_found else "the champion's"
    chosen = f", {word} {threshold(curve.present)}" if curve.present is not None else ""
    plots = [
        _plot(curve, "Points lost against the strongest tier", lambda p: p.loss, 100, _number, rule=100 * found.margin),
        _plot(curve, "Quality", lambda p: p.quality, 1, _number),
        _plot(curve, "Dollars per 1,000 requests", lambda p: p.cost_usd, 1000, _number),
        _plot(curve, "Share escalated, %", lambda p: p.escalated_share, 100, _number),
    ]
    rows = [_row(point, is_chosen=point.value == curve.present) for point in _shown(curve)]
    return (
        f'<h3>{name}{chosen}</h3><p>{escape(curve.knob.meaning)}</p><div class="plots wide">{"".join(plots)}</div>'
        f"<details><summary>As a table</summary>{table(COLUMNS, rows)}</details>"
    )


def _plot(
    curve: ThresholdCurve,
    title: str,
    read: Callable[[ThresholdPoint], Figure | float],
    times: float,
    shown: Callable[[float], str],
    *,
    rule: float | None = None,
) -> str:
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
            title=f"<b>{escape(title)}</b><span class='value'>{escape(value)}</span>", about=f"{title} by {curve.knob.name} of {curve.tier}",
            x=x, y=y, x_ticks=[Tick(at=at, text=f"{at:g}") for at in nice_ticks(*x)], y_ticks=[Tick(at=at, text=shown(at)) for at in nice_ticks(*y)],
            x_label=curve.knob.name, bands=[Band(points=band)] if band else [], lines=[Line(points=means, kind="observed", steps=True)],
            rules=[GuideLine(y=rule)] if rule is not None else [], marks=[here[0]] if here is not None else [],
            dots=[Dot(x=here[0], y=here[1], kind="candidate", about=value)] if here is not None else [], tall=True,
        )
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.3g}"


def _shown(curve: ThresholdCurve) -> Sequence[ThresholdPoint]:
    """Evenly through the values; the first, the last and the chosen one stay."""
    last = len(curve.points) - 1
    kept = {round(at * last / (N_ROWS - 1)) for at in range(N_ROWS)}
    return [point for at, point in enumerate(curve.points) if at in kept or point.value == curve.present]


def _row(point: ThresholdPoint, *, is_chosen: bool) -> tuple[str, ...]:
    cells = (
        threshold(point.value),
        _span(point.quality, 1, 3),
        _span(point.loss, 100, 2),
        " ".join(
            (
                dollars(1000 * point.cost_usd.mean),
                f"({dollars(1000 * max(0.0, point.cost_usd.low))} to {dollars(1000 * point.cost_usd.high)})",
            )
        ),
        share_cell(point.escalated_share),
    )
    return tuple(f'<b class="candidate">{cell}</b>' for cell in cells) if is_chosen else cells


def _span(of: Figure, times: float, digits: int) -> str:
    return f"{times * of.mean:.{digits}f} ({times * of.low:.{digits}f} to {times * of.high:.{digits}f})"
