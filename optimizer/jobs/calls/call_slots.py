"""So many calls in flight at once, first come first served. Used in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
STOP_CHECK_S = 0.25


class Slots:
    """Places to be held while a call is on the wire."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._free = asyncio.Semaphore(n)

    def grow(self, n: int) -> None:
        """At least ``n`` places from now on; places are never taken away."""
        for _ in range(n - self._n):
            self._free.release()
        self._n = max(self._n, n)

    @asynccontextmanager
    async def taken(self, check: Callable[[], None]) -> AsyncIterator[None]:
        """``check`` is asked now and then while one waits, and raises to give up."""
        if self._free.locked():
            await self._take_turn(check)
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _take_turn(self, check: Callable[[], None]) -> None:
        turn = asyncio.ensure_future(self._free.acquire())
        try:
            await wait_checking(turn, check)
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._free.release()  # it was given at this very moment
            turn.cancel()
            raise


_OF_MODELS: WeakKeyDictionary[object, Slots] = WeakKeyDictionary()


def slots_of(model: object, n: int) -> Slots:
    """The places of one model, for all studies of this process together; ``n`` counts when they are made."""
    return _OF_MODELS.setdefault(model, Slots(n))


async def wait_checking(future: asyncio.Future[T], check: Callable[[], None]) -> T:
    """What the future holds in the end; ``check`` is asked four times a second meanwhile, and may raise.

    Others may wait for the future too.
    """
    while not future.done():
        await asyncio.wait([future], timeout=STOP_CHECK_S)
        if not future.done():
            check()
    return future.result()
