"""One request of a connection with its answer, as an ASGI application is given them.

Nothing of uvicorn is used here. Its protocol, which ``connections.py`` extends, reads and sets ``body``, ``more_body``,
``message_event``, ``disconnected``, ``response_complete`` and ``keep_alive`` of an exchange: they have its names, as
``Flow`` has those of its flow control.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus
from logging import getLogger
from typing import Protocol
from urllib.parse import unquote

from httptools import parse_url
from starlette.types import ASGIApp, Message, Scope

Headers = Sequence[tuple[bytes, bytes]]
NO_NAME = re.compile(rb"^$|[^!#$%&'*+.^_`|~0-9a-z-]")  # of a header, which ASGI has in lower case
NO_VALUE = bytes({*range(0x20), 0x7F} - {ord("\t")})
_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}
_names = set[bytes]()  # names of headers that were sent so far: few, and each was checked
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(100, 600)}

log = getLogger("uvicorn.error")


def fill_scope(scope: Scope, method: bytes, address: bytes, version: str) -> None:
    """With what the first line of a head says. Raises HttpParserInvalidURLError."""
    url = parse_url(address)
    path = url.path.decode("ascii")
    scope["method"], scope["http_version"] = method.decode("ascii"), version
    scope["path"], scope["raw_path"] = unquote(path) if "%" in path else path, url.path
    scope["query_string"] = url.query or b""


class Flow(Protocol):
    """The side of a connection that waits for the other."""

    @property
    def write_paused(self) -> bool: ...

    def resume_reading(self) -> None: ...

    async def drain(self) -> None: ...


class ServerConnection(Protocol):
    """What an exchange needs of its connection."""

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def flow(self) -> Flow: ...

    def close_after_answer(self) -> None: ...

    def on_response_complete(self) -> None: ...


class Exchange:
    """Replaces uvicorn's, which reads each header of each answer anew.

    The head goes out with the first piece of the body: two writes would be two system calls, and ASGI wants no head
    sent before a piece of the body is there.
    """

    def __init__(
        self, scope: Scope, connection: ServerConnection, headers: Headers, expects_continue: bool, keep_alive: bool
    ) -> None:
        """``headers``: of every answer, before its own."""
        self._scope, self._connection, self._headers = scope, connection, headers
        self._expects_continue, self.keep_alive = expects_continue, keep_alive
        # of the request, set by the connection
        self.message_event = asyncio.Event()
        self.body, self.more_body, self.disconnected = bytearray(), True, False
        # of the answer
        self.response_started = self.response_complete = self._is_chunked = False
        self._head, self._n_due = b"", 0  # the head until it is sent; bytes of the body that are still due

    async def run(self, app: ASGIApp) -> None:
        """The application's answer; where it gives none, an error, and where it breaks off, the connection's end."""
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as error:
            log.error("Exception in ASGI application\n", exc_info=error)
            if self.response_complete:
                return  # the next request on this connection is another application's matter
        else:
            if self.response_complete or self.disconnected:
                return
            log.error("ASGI callable returned without completing response.")
        if self.response_started:
            self._connection.close_after_answer()
        else:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body"})

    async def receive(self) -> Message:
        transport = self._connection.transport
        if self._expects_continue and not transport.is_closing():
            self._expects_continue = False
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.disconnected and not self.response_complete:
            self._connection.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        kind = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != kind or self.response_complete:
            raise RuntimeError(f"An answer that is to go on with {kind} has no place for {message['type']}.")
        if not self.response_started:
            self._begin(message["status"], [*self._headers, *message.get("headers", ())])
        else:
            body = message.get("body", b"")
            is_last = not message.get("more_body", False)
            if self._scope["method"] == "HEAD":
                body = b""
            elif self._is_chunked:
                body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
                body += b"0\r\n\r\n" if is_last else b""
            else:
                self._n_due -= len(body)
                if self._n_due < 0:
                    raise RuntimeError("The answer is longer than its Content-Length.")
            if self._head or body:
                self._connection.transport.write(self._head + body)
                self._head = b""
            if is_last:
                if self._n_due:
                    raise RuntimeError("The answer is shorter than its Content-Length.")
                self.response_complete = True
                self.message_event.set()
                if not self.keep_alive:
                    self._connection.close_after_answer()
                self._connection.on_response_complete()

    def send_head(self) -> None:
        """Sends the head of an answer that broke off before a piece of its body."""
        if self._head:
            self._connection.transport.write(self._head)
            self._head = b""

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self._expects_continue:  # a client that was not asked for the body sends none, or sends it late
            self.keep_alive = False
        self.response_started, self._expects_continue = True, False
        by_name = dict(headers)
        if not _names.issuperset(by_name):
            if (wrong := next(filter(NO_NAME.search, by_name), None)) is not None:
                raise RuntimeError(f"{wrong!r} is no name of a header.")
            _names.update(by_name)
        if b"close" in by_name.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        self._is_chunked = by_name.get(b"transfer-encoding") == b"chunked"
        if not self._is_chunked and self._scope["method"] != "HEAD":
            if (length := by_name.get(b"content-length")) is not None:
                self._n_due = int(length)
            elif status not in (204, 304):
                self._is_chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
        lines = b"\r\n".join([b": ".join(header) for header in headers])
        if len(lines) - len(lines.translate(None, NO_VALUE)) != 2 * (len(headers) - 1):
            raise RuntimeError("A header of the answer holds a character that ends its line.")
        self._head = b"%b%b\r\n\r\n" % (_STATUS_LINES[status], lines)
