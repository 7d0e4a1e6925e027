"""What each knob of a policy does, as tables of a study's report: the dev items replayed at other values, all else as it is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from optimizer.adapters.reports.page import number_cell, share_cell, table
from optimizer.core.content.policy.pipeline import knob_of
from optimizer.core.content.search.sensitivity import KnobCurve, Point

COLUMNS = ("Value", "Time saved", "In full", "Mean quality of these", "n")


def sensitivity(curves: Sequence[KnobCurve]) -> str:
    """One table per knob that does anything to these items; the others are named."""
    flat = [curve.knob for curve in curves if curve.is_flat]
    drawn = "".join(_table(curve) for curve in curves if not curve.is_flat)
    none = f"<p>Without effect on these items, whatever its value: {escape(', '.join(flat))}.</p>" if flat else ""
    text = "Measured by replay on the study's dev items, one knob at a time around the winner, or the champion where nothing won."
    return f"<p>{text}</p>{drawn}{none}"


def _table(curve: KnobCurve) -> str:
    knob = knob_of(curve.knob)
    meaning = f"<p>{escape(knob.meaning)}</p>" if knob is not None else ""
    return f"<h3><code>{escape(curve.knob)}</code></h3>{meaning}{table(COLUMNS, map(_row, curve.points))}"


def _row(point: Point) -> tuple[str, ...]:
    value, found = point.value, point.outcome
    shown = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return (
        escape(shown),
        share_cell(found.time_saved_share),
        share_cell(found.full_share),
        number_cell(found.quality),
        f"{found.n_judged:,}",
    )
