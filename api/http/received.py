"""Holds the bytes of a connection that are not parsed yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import httptools

from api.http.problems import MalformedRequest

UNSENT_BYTES = 64 * 1024  # of an answer that the system buffers before the client reads; its default is megabytes
END = b"\r\n\r\n"  # ends a head, and a body in chunks; llhttp takes nothing else


class ReceiveBuffer:
    """Bytes in the order in which they came, cut so that no two requests end in one piece."""

    def __init__(self) -> None:
        self._bytes, self._n_parsed = b"", 0
        self.n_declared = 0  # bytes of the body that are still to come, where their number was said

    @property
    def has_more(self) -> bool:
        return self._n_parsed < len(self._bytes)

    def add(self, data: bytes) -> None:
        self._bytes += data

    def next_piece(self, *, of_body: bool) -> bytes:
        """Up to the next place where a request may end."""
        start = self._n_parsed
        if of_body and self.n_declared:
            self._n_parsed = min(start + self.n_declared, len(self._bytes))
            self.n_declared -= self._n_parsed - start
        else:
            end = self._bytes.find(END, max(0, start + 1 - len(END)))
            self._n_parsed = end + len(END) if end >= 0 else len(self._bytes)
        return self._bytes[start : self._n_parsed]

    def forget_parsed(self, *, is_within: bool) -> None:
        """Forgets parsed bytes. A request that is not whole (``is_within``) may end in the midst of END."""
        if not self.has_more:
            self._bytes = self._bytes[1 - len(END) :] if is_within else b""
            self._n_parsed = len(self._bytes)

    def drop(self) -> None:
        self._bytes, self._n_parsed = b"", 0


def write_no_further_ahead(transport: asyncio.Transport) -> None:
    """Than a client reads, where the system knows such a bound (Linux, macOS)."""
    option, connection = getattr(socket, "TCP_NOTSENT_LOWAT", None), transport.get_extra_info("socket")
    if option is not None and connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


class Pauses:
    """Pauses of a transport's reading: uvicorn's flow control asks for some, unparsed bytes for others."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.is_held, self._is_paused = transport, False, False

    def pause_reading(self) -> None:
        self._set(is_held=self.is_held, is_paused=True)

    def resume_reading(self) -> None:
        self._set(is_held=self.is_held, is_paused=False)

    def hold(self, is_held: bool) -> None:
        self._set(is_held=is_held, is_paused=self._is_paused)

    def _set(self, *, is_held: bool, is_paused: bool) -> None:
        before, self.is_held, self._is_paused = self.is_held or self._is_paused, is_held, is_paused
        if before != (is_held or is_paused):
            (self._transport.resume_reading if before else self._transport.pause_reading)()


def head_without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A head that asks for an answer and then the end of the connection.

    After a head with Upgrade, llhttp leaves the rest to another protocol. None is spoken here, and the body would be
    taken for the next request.
    """
    lines = [b"%b: %b" % header for header in headers if header[0] not in (b"connection", b"upgrade")]
    return b"\r\n".join((b"%b %b HTTP/%b" % (method, url, version.encode()), b"connection: close", *lines, b"", b""))


def unreadable(error: httptools.HttpParserError) -> MalformedRequest:
    """What is said of bytes that llhttp cannot read."""
    # What a callback met is the address, which may name a person and is not quoted.
    why = "its address cannot be read" if isinstance(error, httptools.HttpParserCallbackError) else str(error)
    return MalformedRequest(f"This is no request of HTTP: {why}. An address is ASCII, with %-codes.")
