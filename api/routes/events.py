"""Events in: interactions and feedback as they happened, one or up to 1,000 at once, answered once they are on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from api import services
from api.access.auth import Caller, family_asked, require_family
from api.http.bodies import StrictRequest, beside, check_lines_type, check_media_type
from api.http.body_limits import BodyLimit
from api.http.event_columns import is_columns, read_columns
from api.http.event_lines import LinesPart, n_lines, parts_of
from api.http.pagination import Cursor, Limit, page
from api.idempotency import KEY_HEADER, idempotency_of, kept
from api.routing import Asking, PlainRoute, guarded, router, taken_before
from api.schemas import ExposuresBody
from api.services import Services, Shared
from optimizer.core.base.errors import Fault, InvalidInput, NotFound, TooLarge
from optimizer.core.feedback.event_kinds import schema_of
from optimizer.core.feedback.fields import FIELDS
from optimizer.jobs.feedback.ingest_feedback import Idempotency, Intake
from optimizer.jobs.feedback.record_exposures import record_exposures
from optimizer.ports import Transaction
from optimizer.runtime import shapes

IMPORT = "/v1/interactions/import"
MAX_NAMED = 1000  # lines of an import that are named as rejected; of further ones only how many there are
NOTHING: Mapping[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}
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
            "properties": {name: {"type": "array"} for name in FIELDS},
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


@routes.post("/v1/feedback", **_with_body(BODY))
async def feedback(request: Request, shared: Shared) -> dict[str, Any]:
    """Takes one event or a list; 200 once all that was accepted is on disk.

    In a list, events that cannot be taken are named in `rejected` and the others are kept. A single malformed event, or
    one with a forged, foreign or expired token, is a problem document with the same members.
    """
    return await _take(request, shared)


@routes.post("/v1/interactions", **_with_body(BODY))
async def interactions(request: Request, shared: Shared) -> dict[str, Any]:
    """The same as POST /v1/feedback: an event may report what was answered, how it turned out, or both."""
    return await _take(request, shared)


@routes.post("/v1/exposures", **guarded("feedback", narrows=True, keyed=True))
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
    _count_events(request, shared, len(body.windows))
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
async def import_interactions(request: Request, shared: Shared) -> dict[str, Any]:
    """JSON lines of events, or `{"columns": {field: [a value of each event]}}`; kept in parts of 1,000.

    `index` counts lines, or rows, from 0. In a column null says that the event has no such field.

    An import that broke off may be sent again: events with an id are kept once, and with an Idempotency-Key all are.
    The first thousand rejected lines are named; `rejected_more` says how many there are beyond.
    """
    return await _import(request, shared)


async def _import(request: Request, shared: Services) -> dict[str, Any]:
    check_lines_type(request)
    assert isinstance(request, StrictRequest)
    body = await request.body()
    named = idempotency_of(request, body)
    n, parts = await beside(len(body), lambda: _parts(body, shared, request.limit))
    _count_events(request, shared, n)
    rejected: list[dict[str, Any]] = []
    answer: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": rejected}
    n_rejected = n_read = 0
    while (part := await beside(len(body), lambda: next(parts, None))) is not None:
        of_part = None if named is None else (named[0], f"{named[1]} from event {n_read}", named[2])
        n_read += len(part.events)
        events = [event for _, event in part.events]
        done = await _intake(request, shared, of_part).atake(events) if events else NOTHING  # which takes no key
        answer["accepted"] += done["accepted"]
        answer["duplicates"] += done["duplicates"]
        refused = [
            *part.rejected,
            *({**one, "index": part.events[one["index"]][0]} for one in _named(done["rejected"])),
        ]
        n_rejected += len(refused)
        rejected += sorted(refused, key=lambda one: one["index"])[: MAX_NAMED - len(rejected)]
    return answer if n_rejected <= MAX_NAMED else {**answer, "rejected_more": n_rejected - MAX_NAMED}


def _parts(body: bytes, shared: Services, limit: BodyLimit) -> tuple[int, Iterator[LinesPart]]:
    """How many events a body brings, and these."""
    at_once = shared.settings.limits.batch
    if is_columns(body):
        columns = read_columns(body, limit)
        return columns.n, columns.parts(at_once)
    n = n_lines(body, shared.event_windows.limit)
    if not n:
        raise InvalidInput("The body has no lines. Send one JSON object per line.", [Fault(pointer="", detail="empty")])
    return n, parts_of(body, at_once, limit)


@routes.get("/v1/feedback", **guarded("read-texts", narrows=True))
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


@routes.get("/v1/interactions", **guarded("read", narrows=True))
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


async def _plain(request: StrictRequest) -> dict[str, Any]:
    taken = taken_before(request)
    return await _take(request, services.of(request)) if taken is None else _told(request, taken.result(request))


def plain_routes() -> dict[str, PlainRoute]:
    """By path, what comes with every answer of a model, and its import."""
    taken = {
        "/v1/feedback": _plain,
        "/v1/interactions": _plain,
        IMPORT: lambda request: _import(request, services.of(request)),
    }
    return {path: PlainRoute(path, "feedback", handler) for path, handler in taken.items()}


async def _take(request: Request, shared: Services) -> dict[str, Any]:
    check_media_type(request)
    assert isinstance(request, StrictRequest)  # which every route of ours is given
    body = await request.body()
    value = await request.value()
    events = value if isinstance(value, list) else [value]
    _check_batch(events, shared.settings.limits.batch)
    _count_events(request, shared, len(events))
    answer = await _intake(request, shared, idempotency_of(request, body)).atake(events, len(body))
    return _told(request, answer, is_list=isinstance(value, list))


def _told(request: Request, answer: Mapping[str, Any], *, is_list: bool = False) -> dict[str, Any]:
    """The answer as its sender gets it; raises InvalidInput for a single event that could not be taken."""
    if not is_list and answer["rejected"] and answer["rejected"][0]["type"] != "id_conflict":
        raise _as_problem(answer)
    request.state.quiet = not answer["rejected"]
    return {**answer, "rejected": _named(answer["rejected"])}


def _intake(request: Request, shared: Services, idempotency: Idempotency | None = None) -> Intake:
    caller: Caller = request.state.caller
    return shared.intake(caller.actor, idempotency, caller.access)


def _check_batch(events: Sequence[Any], limit: int) -> None:
    if not events:
        raise InvalidInput(
            "The list of events is empty. Send one event or a list of them.", [Fault(pointer="", detail="no event")]
        )
    if len(events) > limit:
        raise TooLarge(
            f"The list has {len(events):,} events, and one request takes {limit:,}. Send it in parts.",
            limit=limit,
            n=len(events),
        )


def _count_events(request: Request, shared: Services, n: int) -> None:
    most = shared.event_windows.limit
    if n > most:  # waiting would never help
        raise TooLarge(
            f"The body has more than {most:,} events, the most that one sender may send in a minute. Send it in parts.",
            limit=most,
        )
    quota, refusal = shared.event_windows.take(request.state.caller.quota, n)
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal


def _as_problem(answer: Mapping[str, Any]) -> InvalidInput:
    refused = answer["rejected"][0]
    errors = {"errors": refused["errors"]} if "errors" in refused else {}
    return InvalidInput(
        refused["detail"], **{**answer, "rejected": _named([refused]), **errors}, reason=refused["type"]
    )


def _named(rejected: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The members that the contract gives a rejected event; its detail names every fault."""
    return [{name: one[name] for name in ("index", "type", "detail")} for one in rejected]


def _usable(since: datetime | None) -> datetime | None:
    """Times at the ends of the calendar have no UTC form; they mean the beginning of it."""
    return since if since is None or 1 < since.year < 9999 else None
