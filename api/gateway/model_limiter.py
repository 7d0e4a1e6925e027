"""How many calls of one model are out at once, how many may wait for a place, and who is next."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from time import monotonic

WhileWanted = Callable[[Callable[[], None]], AbstractContextManager[None]]


class Full(Exception):
    """No place is free and the queue is full, or the wait took too long."""


@dataclass(eq=False, slots=True)
class _Waiting:
    sender: str
    turn: threading.Event = field(default_factory=threading.Event)
    has_place: bool = False


class Limiter:
    """Places for calls. A free one goes to the sender with the fewest calls out, of several to who came first. Thread-safe.

    A sender alone may hold all places and the whole queue; it keeps no other from the next place, nor from the queue.
    """

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self._out: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []  # in the order in which they came
        self._lock = threading.Lock()

    @property
    def n_out(self) -> int:
        with self._lock:
            return self._out.total()

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def place(self, wait_s: float, while_wanted: WhileWanted, sender: str = "") -> Iterator[None]:
        """Holds a place for the time of the block.

        Raises:
            Full: see there.
        """
        self._enter(wait_s, while_wanted, sender)
        try:
            yield
        finally:
            self._leave(sender)

    def _enter(self, wait_s: float, while_wanted: WhileWanted, sender: str) -> None:
        with self._lock:
            if self._out.total() < self.places and not self._waiting:
                self._out[sender] += 1
                return
            if len(self._waiting) >= self.queue:
                self._make_room(sender)
            mine = _Waiting(sender)
            self._waiting.append(mine)
        try:
            with while_wanted(mine.turn.set):
                self._await_turn(mine, monotonic() + wait_s)
        except BaseException:
            self._give_up(mine)
            raise

    def _make_room(self, sender: str) -> None:
        """The newest call of who has most in a full queue goes, where that has more than the newcomer would have; else raises Full."""
        waiting = Counter(one.sender for one in self._waiting)
        most, n = max(waiting.items(), key=lambda item: item[1], default=("", 0))
        if n <= waiting[sender] + 1:
            raise Full
        gone = next(one for one in reversed(self._waiting) if one.sender == most)
        self._waiting.remove(gone)
        gone.turn.set()

    def _await_turn(self, mine: _Waiting, until: float) -> None:
        mine.turn.wait(until - monotonic())
        with self._lock:
            if not mine.has_place:  # the time is over, another sender has its place in the queue, or the client has gone
                raise Full

    def _give_up(self, mine: _Waiting) -> None:
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
            if not mine.has_place:
                return
        self._leave(mine.sender)  # a place was handed over, and nobody wants it

    def _leave(self, sender: str) -> None:
        with self._lock:
            self._out[sender] -= 1
            if not self._out[sender]:
                del self._out[sender]
            if self._waiting:
                next_one = min(self._waiting, key=lambda one: self._out[one.sender])
                self._waiting.remove(next_one)
                self._out[next_one.sender] += 1
                next_one.has_place = True
                next_one.turn.set()
