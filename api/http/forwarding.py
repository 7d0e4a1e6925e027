"""Passes requests on to another process of this server over loopback, bytes untouched, streams included.

Chats go to the gateway, long bodies of feedback to the process for these.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from os import stat
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.http.edge import SAFE_HEADERS
from api.http.neighbour_connections import (
    AnswerLost,
    ClientDisconnected,
    Headers,
    NeighbourConnection,
    NeighbourConnections,
)
from api.http.problems import GatewayUnavailable, MalformedBody
from optimizer.core.base.errors import Busy
from optimizer.host.tracing import TRACEPARENT, TRACING

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade host"
    b" content-length expect".split()
)
SERVING_VERSION = b"detent-serving-version"  # what the sender has read of the store, at least
SET_HERE = frozenset({b"x-request-id", SERVING_VERSION})  # the checked one, never the sender's own
# By the door, against its own address.
CHECKED_HERE = frozenset(b"origin referer sec-fetch-site sec-fetch-mode sec-fetch-dest sec-fetch-user".split())
NOT_PASSED_ON = HOP_BY_HOP | SET_HERE | CHECKED_HERE
NOT_FROM_ANSWER = (
    HOP_BY_HOP - {b"content-length"} | {name for name, _ in SAFE_HEADERS} | {b"date", b"server", b"x-request-id"}
) - {b"referrer-policy"}  # what this process adds itself; pages have one of their own


class ForwardedAnswer(Response):
    """An answer of which the head is here, without the headers that this process adds itself."""

    def __init__(
        self,
        connections: NeighbourConnections,
        connection: NeighbourConnection,
        leaving: asyncio.Future[None],
        status: int,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self.status_code, self.raw_headers, self.background = status, headers, None
        self._connections, self._connection, self._leaving = connections, connection, leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AnswerLost where the other process breaks off in the middle of its answer."""
        connection = self._connection
        try:
            body = connection.take_pieces()
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while True:
                ended = connection.is_whole
                if body or ended:
                    await send({"type": "http.response.body", "body": body, "more_body": not ended})
                if ended:
                    return
                body = await connection.piece()
        except (ClientDisconnected, OSError):
            pass  # the client went
        finally:
            self._leaving.cancel()
            self._connections.give_back(connection)


class NotSent(Exception):
    """The other process is not there, and has heard nothing of the request."""


class Neighbour:
    """Another process of this server as its run file names it; the address is read again when the file changes.

    It checks keys itself, since every program of this machine reaches it.
    """

    patience_s = 600.0  # a model may take minutes; the gateway has limits of its own

    def __init__(self, run_file: Path, serving_version: Callable[[], int | None] = lambda: None) -> None:
        self._run_file, self._serving_version = run_file, serving_version
        self._signature: tuple[int, int, int] | None = None
        self._connections: NeighbourConnections | None = None

    def connections(self) -> NeighbourConnections:
        """The connections to its address. Raises as ``away`` says where it has announced none."""
        try:
            file_state = stat(self._run_file)
            signature = (file_state.st_mtime_ns, file_state.st_ino, file_state.st_size)
            if self._connections is None or signature != self._signature:
                url = json.loads(self._run_file.read_text(encoding="utf-8"))["url"]
                if not isinstance(url, str):
                    raise self.away("its address file names no URL")
                self.close()
                self._signature, self._connections = signature, NeighbourConnections(url, self.patience_s)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self.away("it has not said where it listens") from error
        return self._connections

    async def forward(self, request: Request) -> Response:
        """Its answer as it comes. Raises as ``passed``."""
        body = await request.body()
        answer = await self.passed(request.scope, request.receive, body, request.state.request_id.encode())
        return Response(status_code=499) if answer is None else answer

    async def passed(self, scope: Scope, receive: Receive, body: bytes, request_id: bytes) -> ForwardedAnswer | None:
        """Its answer from the head on; None where the client left before.

        ``receive`` can only report that the client has gone.

        Raises:
            DetentError: as ``away`` says, also for a request that may have reached it.
            NotSent: the request did not reach it, and this process can take it.
            MalformedBody: a header might break out of its line.
        """
        connections = self.connections()
        own = [(b"host", connections.name), (b"x-request-id", request_id)]
        if (version := self._serving_version()) is not None:
            own.append((SERVING_VERSION, b"%d" % version))
        if TRACING.tracer is not None and (traceparent := TRACING.traceparent()) is not None:
            own.append((TRACEPARENT.encode(), traceparent.encode()))  # behind the sender's own, and so it holds
        head = _head(scope, len(body), own)
        try:
            connection = await connections.one()
        except AnswerLost as error:
            raise self.away(str(error)) from error
        number = connection.ask(head, body)
        leaving = asyncio.ensure_future(wait_for_disconnect(receive))
        leaving.add_done_callback(lambda done: None if done.cancelled() else connection.leave(number))
        try:
            status, headers = await connection.head()
        except BaseException as error:
            leaving.cancel()
            connections.give_back(connection)
            if isinstance(error, ClientDisconnected):
                return None
            if isinstance(error, AnswerLost):
                raise self.away(str(error), is_sent=True) from error
            raise
        return ForwardedAnswer(
            connections, connection, leaving, status, [header for header in headers if header[0] not in NOT_FROM_ANSWER]
        )

    def away(self, why: str, *, is_sent: bool = False) -> Exception:
        """What is raised where no answer came; ``is_sent``: the request may have reached the process."""
        raise NotImplementedError

    def close(self) -> None:
        if self._connections is not None:
            self._connections.close()


class Gateway(Neighbour):
    """Answers model calls."""

    def away(self, why: str, *, is_sent: bool = False) -> Exception:
        return GatewayUnavailable(
            f"The gateway cannot be reached: {why}. It starts with `detent serve`, which also restarts it; try again in"
            " a few seconds.",
            retry_after_s=2,
        )


class FeedbackProcess(Neighbour):
    """Reads and keeps long bodies of feedback, so that those who fetch prompts do not wait for that."""

    patience_s = 120.0  # several times what the largest import takes

    def away(self, why: str, *, is_sent: bool = False) -> Exception:
        if not is_sent:
            return NotSent(why)
        return Busy(
            f"The process that keeps feedback was asked, and {why}, so it is not known what of the body was kept. Send"
            " it again: events with an id of their own count once, and so do all under the same Idempotency-Key.",
            retry_after_s=1,
        )


def _head(scope: Scope, n_bytes: int, own: Headers) -> bytes:
    headers = [(name, value.strip(b" \t")) for name, value in scope["headers"] if name not in NOT_PASSED_ON]
    headers += own
    if n_bytes or scope["method"] not in ("GET", "HEAD"):
        headers.append((b"content-length", b"%d" % n_bytes))
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    start = b"%b %b%b HTTP/1.1\r\n" % (scope["method"].encode(), scope["raw_path"], query)
    lines = start + b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) + 1 or lines.count(b"\r") != len(headers) + 1 or b"\0" in lines:
        raise MalformedBody(
            "The request cannot be passed on within this server: a header has a character that ends a line. Correct its"
            " headers."
        )
    return lines + b"\r\n"


async def wait_for_disconnect(receive: Receive) -> None:
    """Returns once the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
