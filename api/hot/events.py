"""Events in: interactions and feedback as they happened, one or up to 1,000 at once, answered once they are on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.responses import Response

from api.hot.application import HotRoute
from api.http.bodies import QUICK_BYTES, StrictRequest, beside, check_lines_type, check_media_type
from api.http.body_limits import BodyLimit
from api.http.forwarding import NotSent
from api.http.imported_events import LinesPart, is_columns, n_lines, parts_of, read_columns
from api.idempotency import idempotency_of
from api.routing import caller_of
from api.services import Services
from optimizer.core.base.errors import Fault, InvalidInput, TooLarge
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.feedback.place_events import Idempotency

FEEDBACK, INTERACTIONS, IMPORT = "/v1/feedback", "/v1/interactions", "/v1/interactions/import"
MAX_NAMED = 1000  # lines of an import that are named as rejected; of further ones only how many there are
NOTHING: Mapping[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}


async def take(request: StrictRequest, shared: Services) -> dict[str, Any]:
    """One event or a list of them."""
    check_media_type(request)
    body = await request.body()
    value = await request.value()
    events = value if isinstance(value, list) else [value]
    limit = shared.settings.limits.batch
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
    count_events(request, shared, len(events))
    answer = await _intake(request, shared, idempotency_of(request, body)).atake(events, len(body))
    rejected = _rejections(answer["rejected"])
    if rejected and not isinstance(value, list) and rejected[0]["type"] != "id_conflict":
        refused = answer["rejected"][0]  # a single event that could not be taken
        errors = {"errors": refused["errors"]} if "errors" in refused else {}
        raise InvalidInput(refused["detail"], **{**answer, "rejected": rejected[:1], **errors}, reason=refused["type"])
    request.state.quiet = not rejected
    return {**answer, "rejected": rejected}


def _intake(request: Request, shared: Services, idempotency: Idempotency | None = None) -> Intake:
    caller = caller_of(request)
    return shared.intake(caller.actor, idempotency, caller.access)


def count_events(request: Request, shared: Services, n: int) -> None:
    most = shared.event_windows.limit
    if n > most:  # waiting would never help
        raise TooLarge(
            f"The body has more than {most:,} events, the most that one sender may send in a minute. Send it in parts.",
            limit=most,
        )
    quota, refusal = shared.event_windows.take(caller_of(request).quota, n)
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal


def _rejections(rejected: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The members that the contract gives a rejected event; its detail names every fault."""
    return [{name: event[name] for name in ("index", "type", "detail")} for event in rejected]


async def take_lines(request: StrictRequest, shared: Services) -> dict[str, Any]:
    """An import: JSON lines, or columns."""
    check_lines_type(request)
    body = await request.body()
    keyed = idempotency_of(request, body)
    n, parts = await beside(len(body), lambda: _parts(body, shared, request.limit))
    count_events(request, shared, n)
    rejected: list[dict[str, Any]] = []
    answer: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": rejected}
    n_rejected = n_read = 0
    while (part := await beside(len(body), lambda: next(parts, None))) is not None:
        of_part = None if keyed is None else (keyed[0], f"{keyed[1]} from event {n_read}", keyed[2])
        n_read += len(part.events)
        events = [event for _, event in part.events]
        report = await _intake(request, shared, of_part).atake(events) if events else NOTHING  # which takes no key
        answer["accepted"] += report["accepted"]
        answer["duplicates"] += report["duplicates"]
        if "in_no_arm" in report:
            answer["in_no_arm"] = answer.get("in_no_arm", 0) + report["in_no_arm"]
        refused = [
            *part.rejected,
            *({**event, "index": part.events[event["index"]][0]} for event in _rejections(report["rejected"])),
        ]
        n_rejected += len(refused)
        rejected += sorted(refused, key=lambda event: event["index"])[: MAX_NAMED - len(rejected)]
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


async def by_feedback_process(request: StrictRequest, shared: Services) -> Response | None:
    """The answer of the process for feedback; None for this process to answer itself.

    Raises Busy where it is not known what became of the body.
    """
    if shared.feedback is None:
        return None
    try:
        answer = await shared.feedback.forward(request)
    except NotSent:
        return None
    request.state.quiet = True  # the other process has its own log
    return answer


async def long_by_feedback_process(request: StrictRequest, shared: Services) -> Response | None:
    """As ``by_feedback_process``, of a long body alone, which is read and counted there."""
    if shared.feedback is None:
        return None
    declared = request.declared
    if (declared if declared is not None else len(await request.body())) <= QUICK_BYTES:
        return None
    return await by_feedback_process(request, shared)


HOT = [
    HotRoute(path=path, role="feedback", handler=handler, elsewhere=long_by_feedback_process)
    for path, handler in ((FEEDBACK, take), (INTERACTIONS, take), (IMPORT, take_lines))
]
