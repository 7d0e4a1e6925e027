"""What each knob of a policy does, as tables of a study's report: the dev items replayed at other values, all else as it is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from optimizer.adapters.reports.page import number_cell, share_cell, table
from optimizer.core.views.study_story import KnobEffect, KnobValue

COLUMNS = ("Value", "Time saved", "In full", "Mean quality of these", "n")


def sensitivity(effects: Sequence[KnobEffect]) -> str:
    """One table per knob that does anything to these items; the others are named."""
    flat = [effect.knob for effect in effects if effect.is_flat]
    drawn = "".join(_table(effect) for effect in effects if not effect.is_flat)
    none = f"<p>Without effect on these items, whatever its value: {escape(', '.join(flat))}.</p>" if flat else ""
    text = "Measured by replay on the study's dev items, one knob at a time around the winner, or the champion where nothing won."
    return f"<p>{text}</p>{drawn}{none}"


def _table(effect: KnobEffect) -> str:
    return f"<h3><code>{escape(effect.knob)}</code></h3><p>{escape(effect.meaning)}</p>{table(COLUMNS, map(_row, effect.values))}"


def _row(found: KnobValue) -> tuple[str, ...]:
    value = found.value
    shown = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return (
        escape(shown),
        share_cell(found.time_saved_share),
        share_cell(found.full_share),
        number_cell(found.quality),
        f"{found.n_judged:,}",
    )
