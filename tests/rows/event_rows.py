"""Whole events as the rows that the store takes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from optimizer.core.feedback.events import Event
from optimizer.core.feedback.stored_rows import ARM_COLUMNS, EventRow, columns_of


def rows_of(events: Sequence[Event]) -> list[EventRow]:
    """The rows of events of one kind."""
    if not events:
        return []
    columns = columns_of(type(events[0]))
    return list(map(attrgetter(*(f"arm.{name}" if name in ARM_COLUMNS else name for name in columns)), events))
