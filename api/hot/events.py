"""Takes events: interactions and feedback, one or up to 1,000 at once, answered once they are on disk."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import partial
from typing import Any, Literal, cast

from fastapi import Request

from api.access.auth import Caller, require_family
from api.answers import EventsImported
from api.hot.application import HotRoute
from api.http.bodies import StrictRequest, beside, check_lines_type, check_media_type
from api.http.body_limits import BodyLimit
from api.http.imported_events import LinesPart, Prompts, is_columns, n_lines, parts_of, read_columns
from api.idempotency import idempotency_of
from api.routing import as_told_to, caller_of, long_by_feedback_process
from api.services import Services
from optimizer.core.base.errors import DetentError, Fault, InvalidFamily, InvalidInput, TooLarge
from optimizer.core.base.phrasing import count
from optimizer.core.feedback.dialogs import TEXT, events_of_dialog
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.feedback.keep_events import EventsTaken, RejectedEvent, Rejection
from optimizer.jobs.feedback.place_events import Idempotency

FEEDBACK, INTERACTIONS, IMPORT = "/v1/feedback", "/v1/interactions", "/v1/interactions/import"
SELDOM: tuple[Literal["in_no_arm", "set_aside"], ...] = ("in_no_arm", "set_aside")
MAX_NAMED = 1000  # rejected lines of an import that the answer names; further ones are only counted
NOTHING: EventsTaken = {"accepted": 0, "duplicates": 0, "rejected": []}


async def take(request: StrictRequest, shared: Services) -> EventsTaken:
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
    rejected: list[RejectedEvent] = [  # without the faults that only the answer to a single event lists
        {"index": one["index"], "type": one["type"], "detail": one["detail"]} for one in answer["rejected"]
    ]
    if rejected and not isinstance(value, list) and rejected[0]["type"] != "id_conflict":
        refused = cast(Rejection, answer["rejected"][0])  # the one event, which was rejected
        errors = {"errors": refused["errors"]} if "errors" in refused else {}
        members: dict[str, Any] = {**answer, "rejected": rejected[:1], **errors}
        raise InvalidInput(refused["detail"], **members, reason=refused["type"])
    request.state.quiet = not rejected
    return {**answer, "rejected": rejected}


def _intake(request: Request, shared: Services, idempotency: Idempotency | None = None) -> Intake:
    caller = caller_of(request)
    return shared.intake(caller.actor, idempotency, caller.access)


def count_events(request: Request, shared: Services, n: int, *, n_before: int = 0) -> None:
    """``n_before``: of the same body, which were counted already."""
    most = shared.event_windows.limit
    if n_before + n > most:  # no wait would make room for them
        raise TooLarge(
            f"The body has more than {most:,} events, the most that one sender may send in a minute. Send it in parts.",
            limit=most,
        )
    quota, refusal = shared.event_windows.take(caller_of(request).quota, n)
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal


async def take_lines(request: StrictRequest, shared: Services) -> EventsImported:
    """An import: JSON lines, or columns."""
    check_lines_type(request)
    body = await request.body()
    family = request.query.get("family")  # whose dialogs they are; without one a key covers the body alone
    idempotency = idempotency_of(request, body if family is None else b"?family=%s\n%s" % (family.encode(), body))
    prompts = _prompts_of(family, caller_of(request), shared)
    n, parts = await beside(len(body), lambda: _parts(body, shared, request.limit, prompts))
    count_events(request, shared, n)
    rejected: list[RejectedEvent] = []
    answer: EventsImported = {"accepted": 0, "duplicates": 0, "rejected": rejected}
    n_rejected = n_read = end = 0
    while (part := await beside(len(body), lambda: next(parts, None))) is not None:
        of_part = idempotency and idempotency._replace(key=f"{idempotency.key} from event {n_read}")
        n_read += len(part.events)
        events = [event for _, event in part.events]
        # Which needs no idempotency key.
        try:
            if part.n_more:
                count_events(request, shared, part.n_more, n_before=n)
                n += part.n_more
            report = await _intake(request, shared, of_part).atake(events) if events else NOTHING
        except DetentError as error:
            if idempotency is not None and "key" in error.members:
                error.members = {**error.members, "key": idempotency.key}  # as it was sent
            if not end:
                raise
            raise _broken_off(error, answer, end, has_key=idempotency is not None) from error
        end = part.end
        answer["accepted"] += report["accepted"]
        answer["duplicates"] += report["duplicates"]
        for name in SELDOM:
            if name in report:
                answer[name] = answer.get(name, 0) + report[name]
        refused = [
            *part.rejected,
            *(
                RejectedEvent(index=part.events[event["index"]][0], type=event["type"], detail=event["detail"])
                for event in report["rejected"]
            ),
        ]
        n_rejected += len(refused)
        rejected += sorted(refused, key=lambda event: event["index"])[: MAX_NAMED - len(rejected)]
    return answer if n_rejected <= MAX_NAMED else {**answer, "rejected_more": n_rejected - MAX_NAMED}


def _broken_off(error: DetentError, answer: EventsImported, end: int, *, has_key: bool) -> DetentError:
    """The error of a later part, with what the parts before it brought; ``end``: of their lines. A copy, since writes
    of one commit share their error.
    """
    n_stored = answer["accepted"] + answer["duplicates"]
    rest = (
        f"Send the lines or rows from index {end} on, which are another import."
        if isinstance(error, TooLarge)
        else "Send the whole body again with the same Idempotency-Key; nothing counts twice then."
        if has_key
        else f"Send the lines or rows from index {end} on, or all again where each event has an id: one without would"
        " count twice."
    )
    broken_off = copy(error)
    broken_off.detail = (
        f"The import broke off. Of its first {count(end, 'line')} or rows, {count(n_stored, 'event')} are stored. Of"
        f" those behind them: {error.detail} {rest}"
    )
    broken_off.members = {**error.members, **answer, "next_index": end}
    return broken_off


def _prompts_of(family: str | None, caller: Caller, shared: Services) -> Prompts | None:
    """What makes events of a dialog of that family's users. Raises NotAuthorised for a family of which the key knows
    nothing, NotFound, and InvalidInput where its prompts' one text does not fill the family's inputs.
    """
    if family is None:
        return None
    require_family(caller, family)
    try:
        inputs = list(shared.family(family).inputs)
    except InvalidFamily as error:
        raise as_told_to(caller, error) from None
    if len(inputs) != 1:
        detail = (
            f"{family} has the inputs {', '.join(inputs)}, and a prompt of a dialog has one text. Import the dialogs"
            f" with detent import FOLDER --family {family} --input {inputs[0]}=MEMBER ..., or send their prompts as"
            " events."
        )
        raise InvalidInput(detail, [Fault(pointer="/family", detail=detail)])
    return partial(events_of_dialog, family=family, inputs={inputs[0]: TEXT})


def _parts(body: bytes, shared: Services, limit: BodyLimit, prompts: Prompts | None) -> tuple[int, Iterator[LinesPart]]:
    """The number of events in a body, and the events in parts."""
    at_once = shared.settings.limits.batch
    if is_columns(body):
        columns = read_columns(body, limit)
        return columns.n, columns.parts(at_once)
    n = n_lines(body, shared.event_windows.limit)
    if not n:
        raise InvalidInput("The body has no lines. Send one JSON object per line.", [Fault(pointer="", detail="empty")])
    return n, parts_of(body, at_once, limit, prompts)


HOT = [
    HotRoute(path=path, role="feedback", handler=handler, query=frozenset(query), elsewhere=long_by_feedback_process)
    for path, handler, query in ((FEEDBACK, take, ()), (INTERACTIONS, take, ()), (IMPORT, take_lines, ("family",)))
]
