"""The tables of an event's fields in docs/reference/rest.md, as the declarations make them."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.core.feedback.event_kinds import EventField, fields_in
from optimizer.core.feedback.events import Part
from optimizer.core.feedback.fields import FIELDS

WORDS = {"dropped": "dropped", "replaced": "replaced by a remark", "masked": "masked only"}


def event_table() -> str:
    return _table(FIELDS, ("holds", "meaning", "makes it a report of", "where no text may be kept"))


def part_table() -> str:
    return _table(fields_in(Part), ("holds", "meaning", "", "where no text may be kept"))


def _table(fields: Mapping[str, EventField], columns: tuple[str, ...]) -> str:
    shown = [name for name in columns if name]
    lines = ["| field | " + " | ".join(shown) + " |", "| --- |" + " --- |" * len(shown)]
    for name, field in fields.items():
        article = {"interaction": "an interaction", "outcome": "an outcome", None: ""}[field.reports]
        cells = (field.kind.holds, field.about, article, WORDS.get(field.private or "", ""))
        lines.append(
            f"| `{name}` | " + " | ".join(cell for cell, column in zip(cells, columns, strict=True) if column) + " |"
        )
    return "\n".join(lines)
