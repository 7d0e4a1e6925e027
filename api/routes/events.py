"""Documents the event routes for OpenAPI; ``api/hot/events.py`` answers them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.answers import EventsImported, TelemetryTaken
from api.hot.events import FEEDBACK, IMPORT, INTERACTIONS
from api.hot.telemetry import LOGS, MEDIA_TYPES, TRACES
from api.idempotency import KEY_HEADER
from api.routing import answered_in_front, guarded, router
from optimizer.core.feedback.event_kinds import schema_of
from optimizer.core.feedback.reported import FIELDS
from optimizer.jobs.feedback.keep_events import EventsTaken

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
OTLP: dict[str, Any] = {
    "required": True,
    "content": {media_type: {"schema": {"type": "object"}} for media_type in reversed(MEDIA_TYPES)},
}
routes: APIRouter = router("Events")


OF_DIALOGS: dict[str, Any] = {
    "name": "family",
    "in": "query",
    "required": False,
    "description": "Of lines that are dialogs: the family whose users they are of",
    "schema": {"type": "string"},
}


def _with_body(body: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    arguments = guarded("feedback", narrows=True)
    arguments["openapi_extra"] |= {"requestBody": body, "parameters": [KEY_HEADER, *parameters]}
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


@routes.post(IMPORT, **_with_body(LINES, OF_DIALOGS))
async def import_interactions() -> EventsImported:
    """JSON lines of events or dialogs, or `{"columns": {field: [a value of each event]}}`; kept in parts of 1,000.

    `index` counts lines, or rows, from 0. In a column null says that the event has no such field. A dialog,
    `{"dialog_id", "user_id", "timestamp", "prompts": [{"text", "response_time_ms", "provider", "status"}]}`, is an
    interaction for each prompt; `family` says whose.

    An import that broke off may be sent again: events with an id are kept once, and with an Idempotency-Key all are.
    The first thousand rejected lines are named; `rejected_more` says how many there are beyond.
    """
    return answered_in_front()


def _with_otlp() -> dict[str, Any]:
    arguments = guarded("feedback", narrows=True)
    arguments["openapi_extra"] |= {"requestBody": OTLP}
    refusal = {
        "description": "In the media type of the request: a problem document with `message`, or the protocol's Status",
        "content": {MEDIA_TYPES[0]: {}, MEDIA_TYPES[1]: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    arguments["responses"] = {200: {"content": {MEDIA_TYPES[0]: {}}}, "4XX": refusal, "5XX": refusal}
    return arguments


@routes.post(TRACES, **_with_otlp())
async def traces() -> TelemetryTaken:
    """OTLP over HTTP: calls of models in OpenTelemetry's GenAI conventions become interactions.

    A span belongs to a family by `detent.assignment`, else by `gen_ai.prompt.name`; others are acknowledged and not
    kept. Protobuf or JSON, with gzip or without; refusals have the protocol's `message`. A span that is
    sent again counts once.
    """
    return answered_in_front()


@routes.post(LOGS, **_with_otlp())
async def logs() -> TelemetryTaken:
    """OTLP over HTTP: `gen_ai.evaluation.result` is an outcome of the span's interaction, of source `judge` where the
    key may send that, else `system`. Other records are acknowledged and not kept.
    """
    return answered_in_front()
