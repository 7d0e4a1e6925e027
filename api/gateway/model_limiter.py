"""Limits one model's concurrent calls and the calls waiting for a slot, and chooses the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field

WhileWanted = Callable[[], AbstractContextManager[None]]  # as ``DeltaSink.while_wanted``


class Full(Exception):
    """No place is free and the queue is full, or the wait took too long."""


@dataclass(eq=False, slots=True)
class _Waiter:
    sender: str
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    has_place: bool = False


class Limiter:
    """Places for calls.

    A free one goes to the sender with the fewest calls out, among equals to the first. Used in one event loop.

    A sender alone may hold all places and the whole queue; it keeps no other from the next place, nor from the queue.
    """

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self._out: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []  # in the order in which they came

    @property
    def n_out(self) -> int:
        return self._out.total()

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def place(
        self, wait_s: float, while_wanted: WhileWanted = nullcontext, sender: str = ""
    ) -> AsyncIterator[None]:
        """Holds a place for the time of the block.

        Raises:
            Full: see there.
        """
        if self.n_out < self.places and not self._waiting:
            self._out[sender] += 1
        else:
            if len(self._waiting) >= self.queue:
                self._make_room(sender)
            mine = _Waiter(sender)
            self._waiting.append(mine)
            try:
                with while_wanted(), suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await mine.turn.wait()
                if not mine.has_place:  # the time is over, or another sender has its place in the queue
                    raise Full
            except BaseException:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                if mine.has_place:
                    self._leave(sender)  # the place came too late for this caller
                raise
        try:
            yield
        finally:
            self._leave(sender)

    def _make_room(self, sender: str) -> None:
        """In a full queue, drops the newest call of the sender with most calls, if it has more than the newcomer's.

        Otherwise raises Full.
        """
        waiting = Counter(place.sender for place in self._waiting)
        most, n = max(waiting.items(), key=lambda item: item[1], default=("", 0))
        if n <= waiting[sender] + 1:
            raise Full
        newest = next(place for place in reversed(self._waiting) if place.sender == most)
        self._waiting.remove(newest)
        newest.turn.set()

    def _leave(self, sender: str) -> None:
        self._out[sender] -= 1
        if not self._out[sender]:
            del self._out[sender]
        if self._waiting:
            first = min(self._waiting, key=lambda place: self._out[place.sender])
            self._waiting.remove(first)
            self._out[first.sender] += 1
            first.has_place = True
            first.turn.set()
