"""What an event may hold, as tables, from the declarations of its fields."""

from __future__ import annotations

from collections.abc import Mapping

from docs.generate.markdown import table
from optimizer.core.feedback.event_kinds import EventField, fields_in
from optimizer.core.feedback.events import Part
from optimizer.core.feedback.fields import FIELDS

WORDS = {"dropped": "dropped", "replaced": "replaced by a remark", "masked": "masked only"}
ARTICLE = {"interaction": "an interaction", "outcome": "an outcome", None: ""}
NO_TEXTS = "where no text may be kept"


def event_table() -> str:
    rows = [
        (f"`{name}`", one.kind.holds, one.about, ARTICLE[one.reports], WORDS.get(one.private or "", ""))
        for name, one in FIELDS.items()
    ]
    return table(("field", "holds", "meaning", "makes it a report of", NO_TEXTS), rows)


def part_table() -> str:
    fields: Mapping[str, EventField] = fields_in(Part)
    rows = [(f"`{name}`", one.kind.holds, one.about, WORDS.get(one.private or "", "")) for name, one in fields.items()]
    return table(("field", "holds", "meaning", NO_TEXTS), rows)
