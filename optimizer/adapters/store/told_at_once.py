"""Hands the results of writes to asyncio callers: one call into their event loop for all writes of a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any
from weakref import WeakKeyDictionary


class Callers:
    """The waiting callers by event loop. ``result`` runs on a loop; the writer's thread hands it the outcome."""

    def __init__(self) -> None:
        self._done: WeakKeyDictionary[asyncio.AbstractEventLoop, _Done] = WeakKeyDictionary()

    async def result(self, written: Future[Any]) -> Any:
        """The write's result, or what it raises; a cancelled caller withdraws a write that has not begun."""
        loop = asyncio.get_running_loop()
        done = self._done.get(loop)
        if done is None:
            done = self._done[loop] = _Done()
        waiting = loop.create_future()
        written.add_done_callback(lambda written: done.put(waiting, written))
        try:
            return await waiting
        except asyncio.CancelledError:
            written.cancel()
            raise


class _Done:
    """Writes that have ended and of which one loop has not heard."""

    def __init__(self) -> None:  # without the loop, which could never be forgotten by what it leads to
        self._ended = deque[tuple[asyncio.Future[Any], Future[Any]]]()
        self._is_called = False

    def put(self, waiting: asyncio.Future[Any], written: Future[Any]) -> None:
        self._ended.append((waiting, written))
        loop = waiting.get_loop()
        if not self._is_called and not loop.is_closed():
            self._is_called = True
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_called = False  # first: what is put from now on calls again
        while self._ended:
            waiting, written = self._ended.popleft()
            if waiting.done():  # its caller has gone
                continue
            if written.cancelled():
                waiting.cancel()
            elif (error := written.exception()) is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(written.result())
