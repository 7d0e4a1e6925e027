"""Events as rows: a value for each stored column, in the order in which ``events.py`` declares them.

What comes with every answer of a model goes from its report straight into a row: an object between them, with thirty
attributes, would cost more than the row does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, get_type_hints

from optimizer.core.feedback.events import Arm, Event, FeedbackEvent, Interaction
from optimizer.core.feedback.reported import Report

EventRow = tuple[Any, ...]


def columns_of(event: type[Event]) -> tuple[str, ...]:
    """The names of its stored columns; those of its arm stand in the place of ``arm``."""
    return tuple(
        column for name, hint in get_type_hints(event).items() for column in (ARM_COLUMNS if hint is Arm else (name,))
    )


def rows_of(events: Sequence[Event]) -> list[EventRow]:
    """The rows of events of one kind."""
    if not events:
        return []
    return list(map(_values_in(columns_of(type(events[0]))), events))


def _values_in(columns: Sequence[str]) -> Callable[[Event], EventRow]:
    return attrgetter(*(f"arm.{name}" if name in ARM_COLUMNS else name for name in columns))


ARM_COLUMNS = tuple(Arm.__dataclass_fields__)
INTERACTION_COLUMNS, FEEDBACK_COLUMNS = columns_of(Interaction), columns_of(FeedbackEvent)
_BEGIN = ("id", *ARM_COLUMNS, "occurred_at", "received_at", "content_hash", "sent_by", "tags")
_OF_INTERACTION = INTERACTION_COLUMNS[len(_BEGIN) : -1]
_OF_FEEDBACK = FEEDBACK_COLUMNS[len(_BEGIN) + 2 :]
assert (*_BEGIN, *_OF_INTERACTION, "by_gateway") == INTERACTION_COLUMNS
assert (*_BEGIN, "source", "interaction", *_OF_FEEDBACK) == FEEDBACK_COLUMNS
_of_arm: Callable[[Arm], EventRow] = attrgetter(*ARM_COLUMNS)


def interaction_row(
    report: Report,
    arm: Arm,
    id: str,
    content_hash: str,
    received_at: datetime,
    sent_by: str | None,
    *,
    by_gateway: bool = False,
) -> EventRow:
    """Of a report of an interaction. It began when it says so, else its latency before it was reported."""
    get = report.values.get
    began = get("occurred_at") or received_at - timedelta(milliseconds=get("latency_ms") or 0)
    return (
        id,
        *_of_arm(arm),
        began,
        received_at,
        content_hash,
        sent_by,
        get("tags") or {},
        *map(get, _OF_INTERACTION),
        by_gateway,
    )


def feedback_row(
    report: Report, arm: Arm, id: str, content_hash: str, received_at: datetime, sent_by: str | None
) -> EventRow:
    """Of a report of an outcome; one that comes with its interaction belongs to it by the shared id."""
    get = report.values.get
    of = get("interaction") or (id if report.is_interaction else None)
    return (
        id,
        *_of_arm(arm),
        get("occurred_at") or received_at,
        received_at,
        content_hash,
        sent_by,
        get("tags") or {},
        get("source") or "user",
        of,
        *map(get, _OF_FEEDBACK),
    )


def feedback_of(row: EventRow) -> FeedbackEvent:
    values = dict(zip(FEEDBACK_COLUMNS, row, strict=True))
    return FeedbackEvent(arm=Arm(**{name: values.pop(name) for name in ARM_COLUMNS}), **values)
