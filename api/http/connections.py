"""Connections: how many there may be, and how long each may take over what it sends and what it reads.

uvicorn bounds only the pause between two requests. A sender that is slow on purpose, or away without having said so,
would keep a connection for ever; here every state of a connection has its time, looked at twice a second.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from time import thread_time
from typing import Any, Literal

import httptools
import structlog
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.http import problems
from api.http.body_limits import length_of
from api.http.request_ids import new_request_id
from optimizer.core.base.errors import Busy, DetentError
from optimizer.host.config import ServerLimits

MAX_HEADER_BYTES = 64 * 1024  # of a head, and of what is no content of a body: trailers, extensions of a chunk
log = structlog.get_logger("http")
# an answer stays readable for so long while what is still sent is thrown away; closing at once would take it back
LINGER_S = 5.0
END = b"\r\n\r\n"  # of a head, and of a body in chunks; llhttp takes no other
MOST_PIECES = 16  # of a request that one turn parses: a hostile body may look as if it ended thousands of times
REST = 3  # times the processor time of the turn before: requests behind others have a quarter of what there is
LONGEST_TURN_S = 0.02  # an answer that takes longer waits for a model or the store, and holds up no turn
OPTIONAL_SPACE = b" \t"  # around a header's value it is no part of it (RFC 9110, 5.5)


class Door:
    """The connections of one server, which take turns. Used on the event loop only.

    Args:
        limits: this process's share of the settings.
        per_address: most connections of one address that ``is_proxy`` does not know; None: no bound.
        said: what the refusal adds about the share.
    """

    def __init__(
        self, limits: ServerLimits, *, per_address: int | None, is_proxy: Callable[[str], bool], said: str = ""
    ) -> None:
        self.limits = limits
        self._per_address, self._is_proxy, self._said = per_address, is_proxy, said
        self._of: Counter[str] = Counter()
        self._n = 0
        self._line: dict[TimedProtocol, None] = {}  # those of which more has come, in the order of their turns
        self._turn_of: TimedProtocol | None = None
        self._turn_began = 0.0  # in processor time of this thread
        self._next: asyncio.TimerHandle | None = None  # the next turn, or the end of one that takes too long

    def enter(self, address: str) -> Busy | None:
        """Counts a connection; the error says that there are too many. Each ``enter`` has its ``leave``."""
        self._n += 1
        self._of[address] += 1
        if self._n > self.limits.connections:
            return Busy(
                f"This server has {self.limits.connections:,} connections open, its most{self._said}. Connect again in"
                " a second."
            )
        if self._per_address is not None and self._of[address] > self._per_address and not self._is_proxy(address):
            return Busy(
                f"Your address has {self._per_address:,} connections open here, its most{self._said}. Use those, or"
                " close some; limits.connections_per_address is a setting, and a proxy belongs into"
                " api.trusted_proxies."
            )
        return None

    def leave(self, address: str) -> None:
        self._n -= 1
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]

    def wait_for_turn(self, connection: TimedProtocol) -> None:
        """One connection after the other reads on, with a rest in between that belongs to those that came alone."""
        self._line[connection] = None
        if self._next is None:
            self._next = connection.loop.call_later(0, self._begin_turn)

    def _begin_turn(self) -> None:
        self._next = None
        if not self._line:
            return
        connection = next(iter(self._line))
        del self._line[connection]
        self._turn_of, self._turn_began = connection, thread_time()
        self._next = connection.loop.call_later(LONGEST_TURN_S, self.end_turn, connection)
        connection.read_on()
        if not connection.has_request_in_work():
            self.end_turn(connection)

    def end_turn(self, connection: TimedProtocol) -> None:
        """When its request is answered, or was for long enough; nothing where it has no turn."""
        if self._turn_of is not connection or self._next is None:
            return
        self._turn_of = None
        self._next.cancel()
        rest = REST * (thread_time() - self._turn_began)
        self._next = connection.loop.call_later(rest, self._begin_turn)


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on llhttp, with a bound on every wait for the other side.

    One request after another: the next is parsed when the one before it is answered, its client has taken most of that,
    and other connections had their turn. Until then nothing more is read.
    """

    flow: _Flow

    def __init__(self, door: Door, **given: Any) -> None:
        super().__init__(**given)
        self._door, self._limits = door, door.limits
        self._received, self._n_parsed = b"", 0  # what came last, and how many bytes of it are parsed
        self._n_declared = 0  # bytes of its body that are still to come, where their number was said
        self._address = ""
        self._reading: Literal["headers", "body"] | None = None
        self._since = 0.0  # when it began to wait for what it reads
        self._n_header_bytes = 0  # since the request began or its last content came
        self._n_unused_bytes = 0  # of a body, since its answer was complete
        self._unread_since: float | None = None  # the other side does not take what is written to it
        self._closing_since: float | None = None
        self._refused_at: float | None = None

    # --- what happens -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._address = self.client[0] if self.client else ""
        self._last_answer = _LastAnswer(transport, self)
        self._begin("headers")
        if (refusal := self._door.enter(self._address)) is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self._address)
        self._drop_received()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused_at is None:
            self._received += data
            self.read_on()

    def read_on(self) -> None:
        """Parses what has come: up to the end of a request, or as far as one turn goes."""
        self._unset_keepalive_if_required()
        n_pieces = 0
        while self._n_parsed < len(self._received) and self._may_read():
            if n_pieces >= (MOST_PIECES if self._reading is not None else 1):
                self._door.wait_for_turn(self)
                break
            if self._reading is None:
                self._begin("headers")
            self._take(self._next_piece())
            n_pieces += 1
        if self._n_parsed == len(self._received):  # a request that is not whole may end in the midst of END
            self._received = self._received[1 - len(END) :] if self._reading is not None else b""
            self._n_parsed = len(self._received)
        self.flow.hold(self._n_parsed < len(self._received))

    def has_request_in_work(self) -> bool:
        """Whether a request has come whole and is not answered."""
        return self._reading is None and self._is_answering()

    def _may_read(self) -> bool:
        """Whether more of this request may be parsed, or, between two, the next be answered."""
        if self.has_request_in_work() or (self._reading is None and self.flow.write_paused):
            return False
        return not self.transport.is_closing()

    def _next_piece(self) -> bytes:
        """Up to the next place where a request may end, so that no two of them end in one piece."""
        start = self._n_parsed
        if self._reading == "body" and self._n_declared:
            self._n_parsed = min(start + self._n_declared, len(self._received))
            self._n_declared -= self._n_parsed - start
        else:
            end = self._received.find(END, max(0, start + 1 - len(END)))
            self._n_parsed = end + len(END) if end >= 0 else len(self._received)
        return self._received[start : self._n_parsed]

    def _take(self, piece: bytes) -> None:
        """Parses it, and ends the connection where this was too much."""
        self._n_header_bytes += len(piece)
        self._parse(piece)
        if self._reading is None or self.transport.is_closing():
            return
        if self._n_header_bytes > MAX_HEADER_BYTES:
            self._refuse(
                problems.HeadersTooLarge(
                    f"The {'headers' if self._reading == 'headers' else 'trailers of the body'} are larger than"
                    f" {MAX_HEADER_BYTES:,} bytes. Send fewer or shorter ones."
                )
            )
        elif (cycle := self._cycle_of_body()) is not None and cycle.response_complete:
            self._n_unused_bytes += len(piece)
            if self._n_unused_bytes > self._limits.body_bytes:
                self._linger()

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self.parser.get_method() != b"CONNECT":
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)  # the other one may have come to its end
                self._parse(head)
                return
            self.send_400_response("CONNECT is for proxies.")
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def _head_without_upgrade(self) -> bytes:
        """The head that was parsed last, as of a client that asks for the answer and the end of the connection alone.

        llhttp leaves what follows a head with Upgrade to another protocol. None is spoken here, and the body would be
        taken for the next request.
        """
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%b: %b" % header for header in self.headers if header[0] not in (b"connection", b"upgrade")]
        return b"\r\n".join((first, b"connection: close", *kept, b"", b""))

    def on_message_begin(self) -> None:
        self._n_declared = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading == "body":
            return  # a trailer
        name, value = name.lower(), value.strip(OPTIONAL_SPACE)
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"content-length":
            self._n_declared = length_of(value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # the head is parsed again without that
        self._begin("body")
        super().on_headers_complete()
        self.cycle.transport = self._last_answer  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._n_header_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._reading == "headers":
            return  # as before, of a head with Upgrade
        self._reading = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._door.end_turn(self)
        if self.flow.is_held:
            self._door.wait_for_turn(self)

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()
        if self.flow.is_held:
            self._door.wait_for_turn(self)

    # --- what takes too long ------------------------------------------------------------------------------------------

    def end_if_late(self, now: float) -> None:
        """Ends the connection where the other side has had its time. ``now``: seconds of the event loop's clock."""
        if self._refused_at is not None:
            if now - self._refused_at > LINGER_S:
                self.transport.abort()
        elif self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > self._limits.stalled_seconds:
                self.transport.abort()  # what was written last is not taken either
        elif self._unread_since is not None:
            if now - self._unread_since > self._limits.stalled_seconds:
                self.transport.abort()
        elif self._reading is not None:
            self._end_slow_reading(now, self._reading)

    def _end_slow_reading(self, now: float, what: Literal["headers", "body"]) -> None:
        if self.flow.read_paused:
            self._since = now  # here the server is the slow one
            return
        most = self._limits.header_seconds if what == "headers" else self._limits.body_seconds
        if now - self._since > most:
            self._refuse(
                problems.TooSlow(
                    f"The request's {what} did not arrive within {most:g} s, so the connection is closed and nothing"
                    f" was kept. Send it again at once; limits.{what.removesuffix('s')}_seconds is a setting."
                )
            )

    def _begin(self, what: Literal["headers", "body"]) -> None:
        self._reading, self._since = what, self.loop.time()
        self._n_header_bytes = self._n_unused_bytes = 0

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _cycle_of_body(self) -> RequestResponseCycle | None:
        """Of the request whose body is being read."""
        return self.cycle if self._reading == "body" else None

    def _refuse(self, error: DetentError) -> None:
        """Answers, unless an answer has begun, and takes nothing more;
        a route that waits for the body learns that its client is gone.
        """
        cycle = self._cycle_of_body()
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started and not cycle.response_complete:
                self.transport.close()
                return
        if cycle is None or not cycle.response_started:
            self.transport.write(_answer(error))
        self._linger()

    def close_after_answer(self) -> None:
        """A body that was refused by its declared size, or another request, is still being sent:
        a proxy would answer 502 for a connection reset in the middle of it.
        """
        if (self._reading == "body" or self.flow.is_held) and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._refused_at = self.loop.time()
        self._drop_received()
        self.transport.write_eof()

    def _drop_received(self) -> None:
        self._received, self._n_parsed = b"", 0
        self.flow.hold(False)


class _Flow(FlowControl):
    """uvicorn's, which reads nothing while the connection holds what it has not parsed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.is_held = False

    def hold(self, is_held: bool) -> None:
        if is_held != self.is_held:
            self.is_held = is_held
            if is_held:
                self._transport.pause_reading()
            elif not self.read_paused:
                self._transport.resume_reading()

    def resume_reading(self) -> None:
        if self.is_held:
            self.read_paused = False
        else:
            super().resume_reading()


class _LastAnswer:
    """The transport as uvicorn's answers use it; it ends as the protocol says."""

    def __init__(self, transport: asyncio.Transport, protocol: TimedProtocol) -> None:
        self._transport = transport
        self.write, self.close = transport.write, protocol.close_after_answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _answer(error: DetentError) -> bytes:
    request_id = new_request_id()  # what the request itself may have named was not read to its end
    log.debug("connection refused", request_id=request_id, status=problems.status_of(error), detail=error.detail)
    body = json.dumps(problems.document(error, request_id=request_id)).encode()
    head = (
        STATUS_LINE[problems.status_of(error)],
        f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n".encode(),
        f"x-request-id: {request_id}\r\nretry-after: 1\r\nconnection: close\r\n\r\n".encode(),
    )
    return b"".join((*head, body))
