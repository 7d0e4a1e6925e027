"""One event in a post, in front of FastAPI and of every layer, as ``quick.py`` does with prompts.

Only a short event that can be read at once, of a caller who may send it, is taken here. All else is left to the route
of the same path (``routes/events.py``) before anything was counted. What is known only after counting, such as a store
that takes nothing more, goes through that route too, which says it and carries nothing out again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from api.access.auth import Caller
from api.access.limits import Quota
from api.http.bodies import read_json
from api.http.body_limits import limit_of
from api.http.connections import AT_ONCE
from api.http.in_flight import InFlight, Passage
from api.http.safe_headers import RAW, RAW_CSP
from api.quick import (
    JSON,
    Headers,
    Sent,
    admitted,
    as_sent,
    caller_now,
    id_header,
    read_headers,
    received_again,
    short_body,
)
from api.routing import Taken
from api.services import Services
from optimizer.jobs.feedback.ingest_feedback import AT_ONCE_CHARS, IntakeRequest
from optimizer.jobs.feedback.place_events import ReadEvent

PATHS = frozenset(("/v1/feedback", "/v1/interactions"))
CONSTANT_OF_EVENTS: Headers = (*RAW, RAW_CSP)
BODIES = {
    counts: b'{"accepted":%d,"duplicates":%d,"rejected":[]}' % counts for counts in ((0, 0), (0, 1), (1, 0), (1, 1))
}


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """The answer to an event that is on disk."""

    own: list[tuple[bytes, bytes]]
    body: bytes
    passage: Passage

    async def send(self, scope: Scope, send: Send) -> None:
        try:
            at_once = scope.get("extensions", {}).get(AT_ONCE)
            raw = b"".join([b"%b: %b\r\n" % header for header in self.own]) + as_sent(CONSTANT_OF_EVENTS)
            if at_once is None or not at_once(scope, 200, raw, self.body):
                headers = [*self.own, *CONSTANT_OF_EVENTS]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": self.body})
        finally:
            self.passage.end()


@dataclass(frozen=True, slots=True)
class ReadPost:
    """One event, read; nothing of it has been counted or kept."""

    intake: IntakeRequest
    reads: Sequence[ReadEvent]


def is_event(scope: Scope) -> bool:
    """Whether this path may bring one event."""
    return scope["type"] == "http" and scope["path"] in PATHS and scope["method"] == "POST"


async def quick_event(
    scope: Scope, receive: Receive, shared: Services, in_flight: InFlight
) -> tuple[KeptEvent | None, Receive]:
    """The answer once the event is on disk; or None for the ordinary route, and what that has to receive from."""
    sent = read_headers(scope["headers"], with_a_body=True) if not scope["query_string"] else None
    caller = caller_now(scope, sent, shared) if sent is not None and not sent.is_keyed else None
    passage = admitted(caller, None, in_flight, "feedback") if caller is not None else None
    if sent is None or caller is None or passage is None:
        return None, receive
    scope.setdefault("state", {})["started"] = perf_counter()
    message: Message | None = None
    is_answered = False
    try:
        request_id = id_header(sent)
        bind_contextvars(request_id=request_id[1].decode())
        message = await receive()  # may take a minute: the key is asked for again
        post = _read(scope, message, sent, caller, shared, passage)
        if post is None or not shared.request_limits.count_held(caller, shared.clock.now()):
            return None, received_again(message, receive)
        quota, refusal = shared.event_windows.take(caller.quota)
        outcome = refusal if refusal is not None else await _kept(post, shared)
        body = _body(outcome)
        if body is None:
            scope["state"]["taken"] = Taken(outcome, quota)
            return None, receive
        headers = [(b"content-length", b"%d" % len(body)), JSON, *_headers(quota), request_id]
        is_answered = True
        return KeptEvent(headers, body, passage), receive
    finally:
        if not is_answered:
            passage.end()


def _read(
    scope: Scope, message: Message, sent: Sent, caller: Caller, shared: Services, passage: Passage
) -> ReadPost | None:
    """None for what the ordinary route has to look at, or to refuse."""
    try:
        body = short_body(scope, message, sent, caller, shared, passage)
        if body is None:
            return None
        events = [read_json(body, limit_of(scope["path"], shared.settings.limits))]
        intake = shared.intake(caller.actor, None, caller.access).request()
        if not isinstance(events[0], dict) or not intake.reads_quickly(events, AT_ONCE_CHARS):
            return None
        reads = intake.read(events)
    except Exception:  # nothing is kept, so the ordinary route meets the same and tells of it
        return None
    return ReadPost(intake, reads) if not intake.rejected else None


async def _kept(post: ReadPost, shared: Services) -> Mapping[str, Any] | Exception:
    """What is answered, or what was raised: the ordinary layers tell the sender of every fault."""
    try:
        return await shared.store.awrite(post.intake.job(post.reads), rows=1)
    except Exception as error:
        return error


def _body(outcome: Mapping[str, Any] | Exception) -> bytes | None:
    if isinstance(outcome, Exception) or outcome["rejected"]:
        return None
    return BODIES.get((outcome["accepted"], outcome["duplicates"]))


def _headers(quota: Quota) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", b"%d" % quota.limit),
        (b"x-ratelimit-remaining", b"%d" % quota.remaining),
        (b"x-ratelimit-reset", b"%d" % quota.reset_s),
    ]
