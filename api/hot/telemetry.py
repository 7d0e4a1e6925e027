"""Takes OpenTelemetry: spans and log records of an application's own instrumentation become events.

The process for feedback reads OTLP, so that this process need not load protobuf. While that process is away, this one
does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from api.hot.application import HotResponse, HotRoute
from api.hot.events import count_events
from api.http.bodies import StrictRequest
from api.http.problems import UnsupportedMediaType, on_detent_error
from api.routing import by_feedback_process, caller_of
from api.services import Services
from optimizer.core.base.errors import DetentError
from optimizer.core.base.phrasing import count
from optimizer.core.feedback.telemetry import (
    PROMPT,
    CallTexts,
    events_of_span,
    interaction_id,
    outcome_of_record,
    texts_of_record,
)
from optimizer.jobs.feedback.add_texts import add_texts

if TYPE_CHECKING:
    from api.http.otlp import Signal, ValueBudget

TRACES, LOGS = "/v1/traces", "/v1/logs"
PROTOBUF = "application/x-protobuf"
MEDIA_TYPES = (PROTOBUF, "application/json")
MOST_SAID = 5  # remarks in one answer


@dataclass(slots=True)
class _ReadExport:
    """What a body holds.

    ``events``: each with the place of its span or log record in the body. ``texts``: interaction -> the texts that log
    records have of its call. ``n_records``: such log records. ``unknown``: prompts that no family here is named after.
    ``n_unknown``: calls with such a prompt.
    """

    budget: ValueBudget
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    texts: dict[str, CallTexts] = field(default_factory=dict)
    n_records: int = 0
    unknown: set[str] = field(default_factory=set)
    n_unknown: int = 0


async def _take(request: StrictRequest, shared: Services, *, signal: Signal) -> Response:
    """Answers once every event is on disk. A span or record that gives no event is acknowledged and not stored."""
    media_type = request.media_type
    encoding = request.first.get("content-encoding", "identity").strip().lower()
    if media_type not in MEDIA_TYPES or encoding not in ("identity", "gzip"):
        raise UnsupportedMediaType(
            f"The body is {media_type[:80] or 'of no declared type'}, Content-Encoding {encoding[:80]}, and OTLP over"
            f" HTTP is expected: {' or '.join(MEDIA_TYPES)}, with gzip or without."
        )
    body = await request.body()
    async with shared.turns.long:
        batch = await asyncio.to_thread(_read, request, shared, body, signal, is_gzip=encoding == "gzip")
    if n := len(batch.events) + batch.n_records:
        count_events(request, shared, n)
    for interaction, texts in batch.texts.items():
        shared.held_texts.add(caller_of(request).actor, interaction, texts, export=hash(body))
    rejected, remarks = await _keep(request, shared, batch.events)
    # Texts and their span come in either order: texts are held, and spans are stored, before the other is looked for.
    remarks += await _add_texts(request, shared, [*batch.texts, *(str(event.get("id")) for _, event in batch.events)])
    if batch.unknown:
        names = ", ".join(repr(name[:80]) for name in sorted(batch.unknown)[:MOST_SAID])
        remarks.append(
            f"{count(batch.n_unknown, 'span')} not kept: {PROMPT} is {names}, and no family here has such a name"
        )
    if batch.budget.n_unread:
        limit = batch.budget.limit
        remarks.append(
            f"{count(batch.budget.n_unread, 'text')} of JSON not read as such: JSON in texts of a body is read up to"
            f" {limit.n_values:,} values. Export less at once, or raise limits.{limit.values_setting}"
        )
    request.state.quiet = not rejected
    from api.http import otlp

    return _response(otlp.success(signal, media_type, len(rejected), "; ".join(remarks)), media_type)


def _read(request: StrictRequest, shared: Services, body: bytes, signal: Signal, *, is_gzip: bool) -> _ReadExport:
    from api.http import otlp

    access = caller_of(request).access
    families = {name for name in shared.families.families if access.may_see(name)}
    families |= {old for old, new in shared.families.former_names.items() if new in families}
    by = "judge" if access.may_send("judge") else "system"
    whole = otlp.decompress_body(body, request.limit) if is_gzip else body
    export = otlp.read_request(whole, signal, request.media_type, request.limit)
    batch = _ReadExport(otlp.ValueBudget(request.limit))
    if signal == "log_records":
        for place, record in enumerate(otlp.records_of(export)):
            outcome = outcome_of_record(record, evaluations_by=by)
            batch.events += [(place, outcome)] if outcome is not None else []
            if outcome is None and (texts := texts_of_record(record, batch.budget.value_of)) is not None:
                batch.n_records += 1
                batch.texts.setdefault(interaction_id(record.trace, record.span), CallTexts()).add(texts)
        return batch
    for place, span in enumerate(otlp.spans_of(export)):
        events = list(events_of_span(span, families, shared.prices, batch.budget.value_of, evaluations_by=by))
        batch.events += [(place, event) for event in events]
        name = span.attributes.get(PROMPT)
        if not events and isinstance(name, str) and name not in families:
            batch.unknown.add(name)
            batch.n_unknown += 1
    return batch


async def _keep(
    request: StrictRequest, shared: Services, events: Sequence[tuple[int, Mapping[str, Any]]]
) -> tuple[set[int], list[str]]:
    """Stores the events; returns the places of those that were not stored, and why.

    A span that comes again is no fault, whatever it holds.
    """
    caller, at_once = caller_of(request), shared.settings.limits.batch
    rejected, reasons = set[int](), dict[str, None]()
    for start in range(0, len(events), at_once):
        part = events[start : start + at_once]
        answer = await shared.intake(caller.actor, None, caller.access).atake([event for _, event in part])
        for event in answer["rejected"]:
            if event["type"] != "id_conflict":
                rejected.add(part[event["index"]][0])
                reasons[f"{event['type']}: {event['detail']}"] = None
    remarks = list(reasons)
    return rejected, remarks[:MOST_SAID] + (
        [f"and {len(remarks) - MOST_SAID} more"] if len(remarks) > MOST_SAID else []
    )


async def _add_texts(request: StrictRequest, shared: Services, interactions: Sequence[str]) -> list[str]:
    """Adds held texts to interactions that are stored, and goes on holding the others. Returns why texts
    were refused.
    """
    caller = caller_of(request)
    texts = shared.held_texts.of(caller.actor, interactions)
    if not texts:
        return []
    intake = shared.intake(caller.actor, None, caller.access)
    report = await asyncio.to_thread(add_texts, intake, {id: of.values() for id, of in texts.items()})
    for interaction in report.known:
        shared.held_texts.take(caller.actor, interaction)
    return [f"texts of a span were not kept: {reason}" for reason in report.refused[:MOST_SAID]]


async def _refusal(request: StrictRequest, error: Exception) -> Response:
    """The problem document with the protocol's member; as protobuf that member alone."""
    assert isinstance(error, DetentError)
    error.members = {**error.members, "message": error.detail}
    problem = await on_detent_error(request, error)
    body, media_type = bytes(problem.body), "application/json"
    if request.media_type == PROTOBUF:
        from api.http import otlp

        body, media_type = otlp.failure(error.detail), PROTOBUF
    own = [header for header in problem.raw_headers if header[0] not in (b"content-length", b"content-type")]
    return _response(body, media_type, own, problem.status_code)


def _response(body: bytes, media_type: str, headers: Sequence[tuple[bytes, bytes]] = (), status: int = 200) -> Response:
    own = [(b"content-length", b"%d" % len(body)), (b"content-type", media_type.encode())]
    return HotResponse(body, [*own, *headers], status)


def _route(path: str, signal: Signal) -> HotRoute:
    take = partial(_take, signal=signal)
    return HotRoute(path=path, role="feedback", handler=take, elsewhere=by_feedback_process, refusal=_refusal)


HOT = [_route(TRACES, "spans"), _route(LOGS, "log_records")]
