"""Connections: uvicorn's, with a bound on every wait for the other side.

uvicorn bounds only the pause between two requests. A sender that is slow on purpose, or gone without a word, would keep
a connection for ever. uvicorn's inner parts are used here alone, and know a request by the names in ``exchange.py``;
``detent serve`` refuses another version (``refuse_other_uvicorn``). ``door.py`` and ``deadlines.py`` have the bounds.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.body_limits import length_of
from api.http.deadlines import Deadlines
from api.http.door import Door
from api.http.exchange import Exchange, fill_scope
from api.http.problems import MalformedRequest, raw_response
from api.http.received import Pauses, ReceiveBuffer, head_without_upgrade, unreadable, write_no_further_ahead
from optimizer.core.base.errors import DetentError

MOST_PIECES = 16  # of a request that one turn parses: a hostile body may seem to end thousands of times


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on llhttp, one request after another.

    The next one is parsed when the one before is answered, its client has taken most of that, and other connections had
    their turn. Until then nothing more is read.
    """

    cycle: Exchange | None  # type: ignore[assignment]

    def __init__(self, door: Door, **options: Any) -> None:
        super().__init__(**options)
        self._door, self._deadlines, self._received = door, Deadlines(door.limits), ReceiveBuffer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._pauses = Pauses(transport)
        self.flow = FlowControl(self._pauses)  # type: ignore[arg-type]
        write_no_further_ahead(transport)
        self._deadlines.begin("headers", self.loop.time())
        if (refusal := self._door.enter(self, self.client[0] if self.client else "")) is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self)
        self._received.drop()
        self._pauses.hold(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadlines.refused_at is None:
            self._received.add(data)
            self.read_on()

    def read_on(self) -> None:
        """Parses what has come: up to the end of a request, or as far as one turn goes."""
        n_pieces = 0
        while self._received.has_more and not self.has_request_in_work() and not self.transport.is_closing():
            if self._deadlines.reading is None and self.flow.write_paused:
                break  # the client takes no answers
            if n_pieces >= (MOST_PIECES if self._deadlines.reading is not None else 1):
                self._door.wait_for_turn(self)
                break
            if self._deadlines.reading is None:
                self._deadlines.begin("headers", self.loop.time())
            self._take(self._received.next_piece(of_body=self._deadlines.reading == "body"))
            n_pieces += 1
        self._received.forget_parsed(is_within=self._deadlines.reading is not None)
        self._pauses.hold(self._received.has_more)

    def has_request_in_work(self) -> bool:
        """Whether a request has come whole and is not answered."""
        return self._deadlines.reading is None and self.cycle is not None and not self.cycle.response_complete

    def _take(self, piece: bytes) -> None:
        """Parses it, and ends the connection where this was too much."""
        self._deadlines.n_header_bytes += len(piece)
        refusal = self._deadlines.too_much() if self._deadlines.reading == "headers" else None
        if refusal is None:
            self._parse(piece)
            if not self._deadlines.reads_body or self.transport.is_closing():
                return
            refusal = self._deadlines.too_much()
        if refusal is not None:
            self._refuse(refusal)
        elif self.cycle is not None and self.cycle.response_complete and self._deadlines.unused(len(piece)):
            self._linger()

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            method, version = self.parser.get_method(), self.parser.get_http_version()
            if method == b"CONNECT":
                return self._refuse(MalformedRequest("CONNECT is for proxies, and this server is none."))
            self.parser = httptools.HttpRequestParser(self)  # the other one may have come to its end
            self._parse(head_without_upgrade(method, self.url, version, self.headers))
        except httptools.HttpParserError as error:
            self._refuse(unreadable(error))

    def on_message_begin(self) -> None:
        self._received.n_declared = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._deadlines.reading == "body":
            return  # a trailer
        name, value = name.lower(), value.strip(b" \t")  # around it that is no part of it (RFC 9110, 5.5)
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"content-length":
            self._received.n_declared = length_of(value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # the head is parsed again without that
        version, scope = self.parser.get_http_version(), cast(Scope, self.scope)
        fill_scope(scope, self.parser.get_method(), self.url, version)
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self.cycle = Exchange(scope, self, self.server_state.default_headers, self.expect_100_continue, keep_alive)
        self._deadlines.begin("body", self.loop.time())
        task = self.loop.create_task(self.cycle.run(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._deadlines.n_header_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._deadlines.reading == "headers":
            return  # as before, of a head with Upgrade
        self._deadlines.reading = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Replaces uvicorn's, which sets a timer for each answer; its pipeline is always empty here."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
        self._door.end_turn(self)
        if self._pauses.is_held:
            self._door.wait_for_turn(self)
        else:
            self._deadlines.idle_since = self.loop.time()

    def pause_writing(self) -> None:
        self._deadlines.unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._deadlines.unread_since = None
        super().resume_writing()
        if self._pauses.is_held:
            self._door.wait_for_turn(self)

    def end_if_late(self, now: float) -> None:
        """Ends the connection where the other side has had its time. ``now``: seconds of the event loop's clock."""
        late = self._deadlines.late(
            now, is_closing=self.transport.is_closing(), is_paused=self.flow.read_paused, is_held=self._pauses.is_held
        )
        if late == "end":
            self.transport.abort()
        elif late is not None:
            self._refuse(late)

    def _refuse(self, error: DetentError) -> None:
        """Answers, unless an answer has begun. Takes nothing more; a running route hears that its client has gone."""
        cycle = self.cycle if self._deadlines.reading == "body" else None
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started and not cycle.response_complete:
                cycle.send_head()
                self.transport.close()
                return
        if cycle is None or not cycle.response_started:
            self.transport.write(raw_response(error))
        self._linger()

    def close_after_answer(self) -> None:
        """A proxy would answer 502 for a connection reset in the middle of a body, or of another request."""
        if (self._deadlines.reading == "body" or self._pauses.is_held) and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._deadlines.refused_at = self.loop.time()
        self._received.drop()
        self._pauses.hold(False)
        self.transport.write_eof()
