"""HTTP/1.1 to another process of this server, over loopback: connections are reused, and answers passed on as they
come.

A general client does more per request than this hop needs, and changes bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import httptools

CONNECT_S = 2.0
IDLE_S = 2.0  # servers close connections that are idle for longer, perhaps just as one is used again
MOST_UNREAD_BYTES = 64 * 1024  # of an answer that its client has not taken; with more, the other process waits
MOST_COPIED_BYTES = 64 * 1024  # of a body that is sent in one write with its head

Headers = Sequence[tuple[bytes, bytes]]


class AnswerLost(Exception):
    """The other process gave no whole answer; the text says what happened."""


class ClientDisconnected(Exception):
    """The client of the request has gone."""


class NeighbourConnection(asyncio.Protocol):
    """Carries one request at a time. Used on its event loop only."""

    def __init__(self, patience_s: float) -> None:
        """``patience_s``: how long the other process may say nothing while it is asked."""
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._number = 0
        self.idle_since = 0.0
        # of the request under way; is_whole: whether the whole answer is here
        self._is_asked = False
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._n_unread = 0
        self._has_head = self.is_whole = self._is_bounded = self._stays = self._is_paused = False
        self._fault: Exception | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, head: bytes, body: bytes = b"") -> int:
        """Sends a whole request; the number is for ``leave``. A long body is not copied: it is held once already."""
        assert self._transport is not None
        self._headers.clear()
        self._pieces.clear()
        self._n_unread = 0
        self._has_head = self.is_whole = self._is_bounded = self._stays = self._is_paused = False
        self._fault = None
        self._is_asked = True
        self._number += 1
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(self._patience_s, self._end_if_silent)
        if len(body) > MOST_COPIED_BYTES:
            self._transport.write(head)
            self._transport.write(body)
        else:
            self._transport.write(head + body)
        return self._number

    async def head(self) -> tuple[int, Headers]:
        """Status and headers of the answer. Raises AnswerLost, or ClientDisconnected after ``leave``."""
        while not self._has_head:
            await self._news()
        return self._parser.get_status_code(), list(self._headers)

    async def piece(self) -> bytes:
        """What has come of the body since the last time, b"" at its end. Raises as ``head``."""
        while not self._pieces and not self.is_whole:
            await self._news()
        return self.take_pieces()

    def take_pieces(self) -> bytes:
        """What is here of the body now."""
        pieces = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._n_unread = 0
        if self._is_paused and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()  # type: ignore[union-attr]
        return pieces

    def leave(self, number: int) -> None:
        """The client of that request has gone; tells the other process."""
        if number == self._number:
            self._fail(ClientDisconnected())

    def finish(self) -> bool:
        """Whether the connection can carry another request; else it is closed."""
        self._is_asked = False
        if self._timer is not None:
            self._timer.cancel()
        if self.is_whole and self._fault is None and self._stays and self.is_open:
            self.idle_since = self._loop.time()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if not self._is_asked or self.is_whole:
            self.abort()  # no answer of ours
            return
        self._heard_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(AnswerLost(f"what it answered is no HTTP ({error})"))
        if self._n_unread > MOST_UNREAD_BYTES and self.is_open and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()  # type: ignore[union-attr]
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._has_head and not self._is_bounded:
            self.is_whole = True  # the end of such an answer is that of its connection
        elif not self.is_whole:
            self._fault = self._fault or AnswerLost("it broke the connection off")
        self._stays = False
        self._wake()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._is_bounded |= name in (b"content-length", b"transfer-encoding")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._n_unread += len(piece)

    def on_message_complete(self) -> None:
        self.is_whole, self._stays = True, self._parser.should_keep_alive()

    async def _news(self) -> None:
        """Waits until something has come; raises what ended it."""
        if self._fault is not None:
            raise self._fault
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _fail(self, fault: Exception) -> None:
        if self._is_asked and not self.is_whole:
            self._fault = self._fault or fault
            self.abort()
            self._wake()

    def _end_if_silent(self) -> None:
        left_s = self._heard_at + self._patience_s - self._loop.time()
        if left_s <= 0 and not self._is_paused:
            self._fail(AnswerLost("it did not answer in time"))
        else:  # while the client does not read, the other process is not to blame for the silence
            self._timer = self._loop.call_later(max(1.0, left_s), self._end_if_silent)


class NeighbourConnections:
    """The connections to one address, made on demand; the one used last is used first."""

    def __init__(self, url: str, patience_s: float) -> None:
        self._make = partial(NeighbourConnection, patience_s)
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self.name = parts.netloc.encode()  # for the header Host
        self._idle: list[NeighbourConnection] = []

    async def one(self) -> NeighbourConnection:
        """Raises AnswerLost where nothing answers at the address."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            connection.abort()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await loop.create_connection(self._make, self._host, self._port)
        except TimeoutError:
            raise AnswerLost("it did not answer in time") from None
        except OSError:
            raise AnswerLost("nothing answers at its address") from None
        return connection

    def give_back(self, connection: NeighbourConnection) -> None:
        if connection.finish():
            self._idle.append(connection)

    def close(self) -> None:
        """Closes those that carry nothing."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
