"""Events as OpenAPI shows them, which ``api/hot/events.py`` takes; lists of what is stored; counts of clients that
decide in process.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from api.access.auth import require_family
from api.answers import CountsTaken, EventsImported, EventsTaken
from api.hot.events import FEEDBACK, IMPORT, INTERACTIONS, count_events
from api.idempotency import KEY_HEADER, kept
from api.routing import Asking, answered_in_front, guarded, router
from api.schemas import ExposuresBody
from api.services import Shared
from optimizer.core.base.errors import TooLarge
from optimizer.core.feedback.event_kinds import schema_of
from optimizer.core.feedback.fields import FIELDS
from optimizer.jobs.feedback.record_exposures import record_exposures

EVENT_SCHEMA: dict[str, Any] = {
    **schema_of(FIELDS, nullable=True),  # null says what leaving the field out says
    "description": (
        "Needs `assignment`, or `family` and `unit`, or `interaction`; and at least one thing that it reports."
    ),
}
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"anyOf": [EVENT_SCHEMA, {"type": "array", "items": EVENT_SCHEMA, "minItems": 1}]}
        }
    },
}
COLUMNS: dict[str, Any] = {
    "type": "object",
    "required": ["columns"],
    "additionalProperties": False,
    "properties": {
        "columns": {
            "type": "object",
            "description": "By field a list with a value, or null, for each event; all lists are of one length.",
            "additionalProperties": False,
            "properties": {name: {"type": "array", "items": EVENT_SCHEMA["properties"][name]} for name in FIELDS},
        }
    },
}
LINES: dict[str, Any] = {
    "required": True,
    "content": {"application/x-ndjson": {"schema": {"type": "string"}}, "application/json": {"schema": COLUMNS}},
}
routes: APIRouter = router("Events")


def _with_body(body: dict[str, Any]) -> dict[str, Any]:
    arguments = guarded("feedback", narrows=True)
    arguments["openapi_extra"] |= {"requestBody": body, "parameters": [KEY_HEADER]}
    return arguments


@routes.post(FEEDBACK, **_with_body(BODY))
async def feedback() -> EventsTaken:
    """Takes one event or a list; 200 once all that was accepted is on disk.

    In a list, events that cannot be taken are named in `rejected` and the others are kept. A single malformed event, or
    one with a forged, foreign or expired token, is a problem document with the same members.
    """
    return answered_in_front()


@routes.post(INTERACTIONS, **_with_body(BODY))
async def interactions() -> EventsTaken:
    """The same as POST /v1/feedback: an event may report what was answered, how it turned out, or both."""
    return answered_in_front()


@routes.post("/v1/exposures", response_model=CountsTaken, **guarded("feedback", narrows=True, keyed=True))
async def exposures(
    body: ExposuresBody, shared: Shared, caller: Asking, request: Request, response: Response
) -> dict[str, int]:
    """Counts of clients that decide in process.

    A window that is sent again changes nothing; a larger count replaces a smaller one.
    """
    if len(body.windows) > shared.settings.limits.batch:
        raise TooLarge(
            f"The list has {len(body.windows):,} windows, and one request takes {shared.settings.limits.batch:,}. Send"
            " it in parts."
        )
    if caller.access.families is not None:
        for window in body.windows:
            require_family(caller, window.get("family"))
    count_events(request, shared, len(body.windows))
    store = kept(request, shared, response, dict)
    families = shared.families.families
    return await asyncio.to_thread(
        record_exposures,
        body.client,
        body.windows,
        store=store,
        clock=shared.clock,
        families=families,
        actor=caller.actor,
    )


@routes.post(IMPORT, **_with_body(LINES))
async def import_interactions() -> EventsImported:
    """JSON lines of events, or `{"columns": {field: [a value of each event]}}`; kept in parts of 1,000.

    `index` counts lines, or rows, from 0. In a column null says that the event has no such field.

    An import that broke off may be sent again: events with an id are kept once, and with an Idempotency-Key all are.
    The first thousand rejected lines are named; `rejected_more` says how many there are beyond.
    """
    return answered_in_front()
