"""The outermost layer of every request: its id, its log line, the size of its body, and its place among those under
way.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from api.http import problems
from api.http.body_limits import length_of
from api.http.in_flight import InFlight, Passage
from api.http.request_names import REQUEST_ID, logged_path, new_request_id, span_path
from optimizer.core.base.errors import TooLarge
from optimizer.host.tracing import TRACING

TRACES = "/v1/traces"  # a span about each batch of spans would never end where this server takes its own

log = structlog.get_logger("api")

# What every answer tells a browser: run nothing, show it in no frame, take its type as declared.
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
NAME_OF_CSP = b"content-security-policy"
WITH_POLICY = (
    *SAFE_HEADERS,
    (NAME_OF_CSP, b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
)


class Edge:
    """ASGI middleware.

    Later layers find ``request_id`` and ``passage`` in the scope's state and may add ``headers`` there for the answer.
    Changes and faults get a log line each; a route that is called thousands of times a minute sets ``quiet`` when all
    went well.
    """

    def __init__(self, app: ASGIApp, in_flight: InFlight) -> None:
        self.app, self.in_flight, self.body_bytes = app, in_flight, in_flight.limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])  # the last of each name
        sent, length = headers.get(b"x-request-id"), headers.get(b"content-length", b"")
        # the sender's own id where it is a plain word of at most 128 characters
        request_id = sent.decode() if sent is not None and REQUEST_ID.fullmatch(sent) else new_request_id()
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["headers"] = {}
        passage = state["passage"] = Passage(self.in_flight)
        started = perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered, status = message.setdefault("headers", []), message["status"]
                names = dict(answered)  # a page that has policies of its own keeps them
                always = [one for one in SAFE_HEADERS if one[0] not in names] if NAME_OF_CSP in names else WITH_POLICY
                answered += ((b"x-request-id", request_id.encode()), *always)
                if own := state["headers"]:
                    answered += [(name.lower().encode(), value.encode()) for name, value in own.items()]
                if 300 <= status < 400:
                    answered[:] = [
                        (name, _own_path(value) if name == b"location" else value) for name, value in answered
                    ]
                if status >= 500 or (scope["method"] not in ("GET", "HEAD") and not state.get("quiet")):
                    log.info(
                        "answered",
                        method=scope["method"],
                        path=logged_path(scope),
                        status=status,
                        ms=round((perf_counter() - started) * 1000, 1),
                    )
            await send(message)

        bind_contextvars(request_id=request_id)  # until the request ends: its task has a context of its own
        if length.isdigit() and length_of(length) > self.body_bytes:
            await problems.response(self._too_large(), scope, {"Connection": "close"})(scope, receive, answer)
            return
        is_traced = TRACING.tracer is not None and scope["path"] != TRACES
        app = partial(_traced, self.app) if is_traced else self.app
        try:
            await app(scope, self._counted(receive, passage), answer)
        finally:
            passage.end()

    def _counted(self, receive: Receive, passage: Passage) -> Receive:
        n_bytes = 0

        async def counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            if message["type"] == "http.request":
                n_more = len(message.get("body", b""))
                n_bytes += n_more
                if n_bytes > self.body_bytes:
                    raise self._too_large()
                passage.take(n_more)
            return message

        return counted

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is larger than {self.body_bytes:,} bytes. Send it in smaller parts, or raise limits.body_bytes.",
            limit_bytes=self.body_bytes,
        )


def _own_path(location: bytes) -> bytes:
    """The location without a host, which only the sender named. A relative one already leads to this server."""
    if location.startswith((b"./", b"../")):
        return location
    return b"/" + urlsplit(location)._replace(scheme=b"", netloc=b"").geturl().lstrip(b"/")


async def _traced(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The request in a span of its own. A unit in its path stays out of it, as out of logs."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    attributes = {"http.request.method": scope["method"], "detent.request_id": scope["state"]["request_id"]}
    with TRACING.request(scope["method"], headers, attributes) as span:

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                path, status = logged_path(scope), message["status"]
                span.update_name(f"{scope['method']} {span_path(scope)}")
                span.set_attribute("url.path", path)
                span.set_attribute("http.response.status_code", status)
            await send(message)

        await app(scope, receive, send_named)
