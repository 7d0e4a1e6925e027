"""Events as OpenAPI shows them, which ``api/hot/events.py`` takes; lists of what is stored; counts of clients that
decide in process.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from api.access.auth import family_asked, require_family
from api.answers import CountsTaken, EventsImported, EventsTaken
from api.hot.events import FEEDBACK, IMPORT, INTERACTIONS, count_events
from api.http.pagination import Cursor, Limit, page
from api.idempotency import KEY_HEADER, kept
from api.routing import Asking, answered_in_front, guarded, router
from api.schemas import ExposuresBody
from api.services import Shared
from optimizer.core.base.errors import NotFound, TooLarge
from optimizer.core.feedback.event_kinds import schema_of
from optimizer.core.feedback.fields import FIELDS
from optimizer.jobs.feedback.record_exposures import record_exposures
from optimizer.ports import Transaction
from optimizer.runtime import shapes

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


@routes.get(FEEDBACK, **guarded("read-texts", narrows=True))
def list_feedback(
    shared: Shared,
    caller: Asking,
    family: Annotated[str | None, Query(max_length=200)] = None,
    variant: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[AwareDatetime | None, Query(description="Received at or after this time")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Feedback events, oldest first."""
    asked = family_asked(caller, family)

    def read(tx: Transaction) -> dict[str, Any]:
        events, next_cursor = shared.store.events.page_of_feedback(
            tx, family=asked, variant=variant, since=_usable(since), cursor=cursor, limit=limit
        )
        return page([shapes.feedback(event) for event in events], next_cursor)

    return shared.read(read)


@routes.get(INTERACTIONS, **guarded("read", narrows=True))
def list_interactions(
    shared: Shared,
    caller: Asking,
    family: Annotated[str | None, Query(max_length=200)] = None,
    variant: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[AwareDatetime | None, Query(description="Received at or after this time")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Interactions, oldest first. Their texts are null for a key without role read-texts."""
    asked = family_asked(caller, family)

    def read(tx: Transaction) -> dict[str, Any]:
        found, next_cursor = shared.store.events.page_of_interactions(
            tx, family=asked, variant=variant, since=_usable(since), cursor=cursor, limit=limit
        )
        return page([shapes.interaction(one) for one in found], next_cursor)

    return shared.read(read)


@routes.get(
    "/v1/interactions/{id:path}", **guarded("read-texts", narrows=True)
)  # ids are the sender's, a slash included
def interaction(
    id: str, shared: Shared, caller: Asking, family: Annotated[str | None, Query(max_length=200)] = None
) -> dict[str, Any]:
    """One interaction with the feedback on it.

    Ids are unique within a family: name it where two families share an id.
    """
    if family is not None:
        require_family(caller, family)
    families = caller.access.families if family is None and caller.access.families is not None else (family,)

    def read(tx: Transaction) -> dict[str, Any]:
        found = next(filter(None, (shared.store.events.interaction(tx, id, name) for name in families)), None)
        if found is None:
            raise NotFound(
                f"There is no interaction {id!r}. It may have been pruned, or never been reported.", interaction=id
            )
        outcomes = shared.store.events.feedback_of(tx, found.arm.family, id)
        later = shared.store.events.later_parts(tx, found.arm.family, {id}).get(id)
        shown = {**shapes.interaction(found), "feedback": [shapes.feedback(outcome) for outcome in outcomes]}
        return shown if later is None else {**shown, "later_parts": [dict(part) for part in later.parts]}

    return shared.read(read)


def _usable(since: datetime | None) -> datetime | None:
    """Times at the ends of the calendar have no UTC form; they mean the beginning of it."""
    return since if since is None or 1 < since.year < 9999 else None
