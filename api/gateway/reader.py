"""The client who waits for an answer, as seen by the thread that makes it and by the event loop that sends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from optimizer.core.models.stream import MessageInPieces, ModelDelta

MOST_UNREAD_BYTES = 64 * 1024  # of pieces that the client has not been sent; the model waits from there on
FRAME_BYTES = 256  # what a piece costs beside its text
STALLED = "client_gone: the client read nothing for {:g} s"


class ClientGone(Exception):
    """Nobody waits for the answer any more. ``record`` holds what was paid for it, where a policy had asked for parts of it."""

    record: Mapping[str, Any] = {}


class Reader:
    """Takes pieces from a thread (it is a DeltaSink) and hands them to the event loop on which it was made.

    A client that reads more slowly than the model writes slows the model down; one that reads nothing for ``patience_s`` seconds has gone.
    """

    def __init__(self, patience_s: float = 30.0) -> None:
        self.gone = False
        self.why = ""  # it has gone, for the record
        self.asked = False  # some model was called for it, so that it belongs on record
        self.first_at: float | None = None  # perf_counter of the first piece
        self._message = MessageInPieces()
        self._pieces: list[ModelDelta] = []
        self._patience_s = patience_s
        self._unread_bytes = 0
        self._room = threading.Event()
        self._ends: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._waking = False

    # --- in the thread --------------------------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        return self.first_at is not None

    @property
    def text(self) -> str:
        """What was handed on so far."""
        return self._message.text

    def put(self, delta: ModelDelta) -> None:
        """Waits while too much is unread; raises ClientGone once nobody reads."""
        self.check()
        if self.first_at is None:
            self.first_at = perf_counter()
        self._message.add(delta)
        with self._lock:
            self._pieces.append(delta)
            self._unread_bytes += _size_of(delta)
            if is_full := self._unread_bytes > MOST_UNREAD_BYTES:
                self._room.clear()
        if not self._waking:  # one wake-up hands over all that has come by then
            self._waking = True
            self._loop.call_soon_threadsafe(self._woken.set)
        if is_full:
            self._await_room()

    def _await_room(self) -> None:
        if not self._room.wait(self._patience_s):
            with self._lock:
                self.gone, self.why = True, self.why or STALLED.format(self._patience_s)
            self._loop.call_soon_threadsafe(self.leave)
        self.check()

    @contextmanager
    def while_wanted(self, end: Callable[[], None]) -> Iterator[None]:
        """``end`` is called when the client goes; however the work inside then ends, it is ClientGone."""
        with self._lock:
            self.check()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)
            self.check()

    def check(self) -> None:
        if self.gone:
            raise ClientGone

    # --- on the event loop ----------------------------------------------------------------------------------------------

    def leave(self, why: str = "client_gone: the client left") -> None:
        """The client has gone, or is sent away since the process ends."""
        with self._lock:
            self.why = self.why or why
            self.gone = True
            self._room.set()
            for end in self._ends:  # under the lock: afterwards its connection may serve somebody else
                end()
        self.wake()

    def wake(self) -> None:
        self._woken.set()

    async def woken(self) -> None:
        """Something has come, or somebody called ``wake``."""
        await self._woken.wait()

    async def pieces(self) -> list[ModelDelta]:
        """What has come since the last time; waits for something, and returns nothing where it was only woken."""
        await self._woken.wait()
        self._woken.clear()
        self._waking = False
        with self._lock:
            taken, self._pieces = self._pieces, []
            self._unread_bytes = 0
            self._room.set()
        return taken


def _size_of(delta: ModelDelta) -> int:
    return FRAME_BYTES + sum(len(value) if isinstance(value, str) else len(repr(value)) for value in delta.values())
