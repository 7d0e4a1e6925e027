"""The client that waits for an answer, as the task that makes it and the task that sends it see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from optimizer.core.models.language import MessageInPieces, ModelDelta

MOST_UNREAD_BYTES = 64 * 1024  # of pieces that were not sent yet; with more, the model waits
FRAME_BYTES = 256  # what a piece costs beside its text
STALLED = "client_gone: the client read nothing for {:g} s"


class ClientGone(Exception):
    """The client no longer waits for the answer."""

    record: Mapping[str, Any] = {}  # what was paid for the answer, where a policy had asked for parts of it


class Reader:
    """Takes pieces from the task that makes the answer (it is a DeltaSink) and hands them to the one that sends it.

    A client that reads more slowly than the model writes slows the model down; one that reads nothing for
    ``patience_s`` seconds has gone. Used in one event loop.
    """

    def __init__(self, patience_s: float = 30.0) -> None:
        self.has_left = False
        self.why = ""  # it has gone, for the record
        self.asked: str | None = None  # the last model that was called for it; with one, it belongs on record
        self.first_at: float | None = None  # perf_counter of the first piece
        self._message = MessageInPieces()
        self._pieces: list[ModelDelta] = []
        self._patience_s = patience_s
        self._unread_bytes = 0
        self._room = asyncio.Event()
        self._working: list[asyncio.Task[Any]] = []  # what ends with it
        self.woken = asyncio.Event()  # something has come, or its waiter shall look

    @property
    def begun(self) -> bool:
        return self.first_at is not None

    @property
    def text(self) -> str:
        """What was handed on so far."""
        return self._message.text

    async def put(self, delta: ModelDelta) -> None:
        """Waits while too much is unread. Raises ClientGone once the client reads no more."""
        self.check()
        if self.first_at is None:
            self.first_at = perf_counter()
        self._message.add(delta)
        self._pieces.append(delta)
        self._unread_bytes += FRAME_BYTES + sum(
            len(value) if isinstance(value, str) else len(repr(value)) for value in delta.values()
        )
        self.woken.set()
        if self._unread_bytes > MOST_UNREAD_BYTES:
            self._room.clear()
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._room.wait()
            except TimeoutError:
                self.leave(STALLED.format(self._patience_s))
            self.check()

    @contextmanager
    def while_wanted(self) -> Iterator[None]:
        """The task inside is cancelled when the client goes; however its work then ends, it is ClientGone."""
        self.check()
        task = asyncio.current_task()
        assert task is not None
        self._working.append(task)
        try:
            yield
        finally:
            self._working.remove(task)
            if self.has_left:
                task.uncancel()
            self.check()

    def check(self) -> None:
        if self.has_left:
            raise ClientGone

    def leave(self, why: str = "client_gone: the client left") -> None:
        """The client has gone, or is sent away since the process ends."""
        self.why = self.why or why
        if not self.has_left:
            self.has_left = True
            for task in self._working:
                if task is not asyncio.current_task():  # the task that says so ends by ``check``
                    task.cancel()
        self._room.set()
        self.woken.set()

    async def pieces(self) -> list[ModelDelta]:
        """What has come since the last time; waits for something, and returns nothing where it was only woken."""
        await self.woken.wait()
        self.woken.clear()
        pieces, self._pieces = self._pieces, []
        self._unread_bytes = 0
        self._room.set()
        return pieces
