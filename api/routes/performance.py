"""Takes reports of content pipelines about their items: the same members as query parameters or as a body, as their own
clients send them.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import WithJsonSchema

from api.hot.events import count_events
from api.http.bodies import StrictRequest, check_media_type
from api.idempotency import KEY_HEADER, idempotency_of
from api.routing import guarded, router
from api.services import Shared
from optimizer.content.core.records.record import MAX_NAME_CHARS, MAX_REASON_CHARS, MAX_TIME_S, PROCESSING_TYPES
from optimizer.content.jobs.record_performance import RecordAnswer, record_performance
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Fault, InvalidInput

SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS}
MEMBERS: dict[str, dict[str, Any]] = {
    "processing_type": {"type": "string", "enum": list(PROCESSING_TYPES)},
    "content_type": NAME,
    "quality_score": SHARE,
    "processing_time": {"type": "number", "minimum": 0, "maximum": MAX_TIME_S, "description": "Seconds"},
    "exit_checkpoint": NAME,
    "exit_reason": {"type": "string", "maxLength": MAX_REASON_CHARS},
    "exit_confidence": SHARE,
    "time_saved_pct": {**SHARE, "description": "Share of the time of full processing: 65 % is 0.65"},
    "satisfaction": {**SHARE, "description": "Of who used what came of the item"},
    "failed": {"type": "boolean", "description": "Whether the item failed; say it of each item, or of none"},
    "config_version": {**NAME, "description": "The configuration that dealt with it, such as conservative"},
    "CONFIG_VERSION": {**NAME, "description": "Another name of `config_version`"},
    "variant": {**NAME, "description": "The same, where a variant dealt with it: its id"},
}
BODY: dict[str, Any] = {
    "required": False,
    "content": {
        "application/json": {"schema": {"type": "object", "additionalProperties": False, "properties": MEMBERS}}
    },
}
Text = Annotated[str | None, Query()]  # numbers are read from texts later on, so that every fault is named at once

routes: APIRouter = router("Content pipeline")


def _recording() -> dict[str, Any]:
    arguments = guarded("feedback")
    arguments["openapi_extra"] |= {"requestBody": BODY, "parameters": [KEY_HEADER]}
    return arguments


@routes.post("/api/performance/record", **_recording())
async def record(
    request: Request,
    shared: Shared,
    processing_type: Annotated[Text, WithJsonSchema(MEMBERS["processing_type"])] = None,
    content_type: Annotated[Text, WithJsonSchema(MEMBERS["content_type"])] = None,
    quality_score: Annotated[Text, WithJsonSchema(MEMBERS["quality_score"])] = None,
    processing_time: Annotated[Text, WithJsonSchema(MEMBERS["processing_time"])] = None,
    exit_checkpoint: Annotated[Text, WithJsonSchema(MEMBERS["exit_checkpoint"])] = None,
    exit_reason: Annotated[Text, WithJsonSchema(MEMBERS["exit_reason"])] = None,
    exit_confidence: Annotated[Text, WithJsonSchema(MEMBERS["exit_confidence"])] = None,
    time_saved_pct: Annotated[Text, WithJsonSchema(MEMBERS["time_saved_pct"])] = None,
    satisfaction: Annotated[Text, WithJsonSchema(MEMBERS["satisfaction"])] = None,
    failed: Annotated[Text, WithJsonSchema(MEMBERS["failed"])] = None,
    config_version: Annotated[Text, WithJsonSchema(MEMBERS["config_version"])] = None,
    in_capitals: Annotated[str | None, Query(alias="CONFIG_VERSION"), WithJsonSchema(MEMBERS["CONFIG_VERSION"])] = None,
    variant: Annotated[Text, WithJsonSchema(MEMBERS["variant"])] = None,
) -> RecordAnswer:
    """Takes what a content pipeline did with one item,
    as query parameters or as a body of JSON; 200 once it is on disk.

    `processing_type` is needed; an item without a `content_type` counts as `unknown`;
    what was not measured is left out. Shares are from 0 to 1 (65 % is 0.65), `processing_time` is in seconds. A record
    of full processing that names no saving has saved nothing. `status` is "not recorded" where the flag
    ENABLE_DASHBOARD_METRICS is off. Records count as events in the limits.
    """
    # Parameters and members as one; raises InvalidInput for those that come more than once.
    query = list(request.query_params.multi_items())
    values, faults = dict(await _body(request)), []
    for name, value in query:
        if value == "":
            continue
        if values.get(name) is not None:
            faults.append(
                Fault(pointer=f"/{name}", detail="is given more than once; send it as a query parameter or in the body")
            )
        values[name] = value
    if faults:
        raise InvalidInput("; ".join(f"{fault.pointer[1:]} {fault.detail}" for fault in faults) + ".", faults)
    count_events(request, shared, 1)
    answer = await record_performance(
        values,
        store=shared.store,
        clock=shared.clock,
        keep_it=shared.flags.records_metrics,
        idempotency=idempotency_of(request, canonical_json(values)),
    )
    request.state.quiet = True
    return answer


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if not raw:
        return {}
    assert isinstance(request, StrictRequest)  # which every route of ours is given
    check_media_type(request)
    body = await request.json()
    if body is not None and not isinstance(body, dict):
        raise InvalidInput(
            f"The body is no JSON object. Send one with {', '.join(MEMBERS)}, or query parameters.",
            [Fault(pointer="", detail="must be an object")],
        )
    return body or {}
