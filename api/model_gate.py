"""How many calls of one model are out at once, and how many may wait for a place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

WhileWanted = Callable[[Callable[[], None]], AbstractContextManager[None]]


class Full(Exception):
    """No place is free and the queue is full, or the wait took too long."""


class Gate:
    """Places for calls, handed on in the order in which callers came. Thread-safe."""

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self.n_out = 0
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @contextmanager
    def place(self, wait_s: float, while_wanted: WhileWanted) -> Iterator[None]:
        """Holds a place for the time of the block.

        Raises:
            Full: see there.
        """
        self._enter(wait_s, while_wanted)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, wait_s: float, while_wanted: WhileWanted) -> None:
        with self._lock:
            if self.n_out < self.places and not self._waiting:
                self.n_out += 1
                return
            if len(self._waiting) >= self.queue:
                raise Full
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            with while_wanted(mine.set):
                self._await_turn(mine, monotonic() + wait_s)
        except BaseException:
            self._give_up(mine)
            raise

    def _await_turn(self, mine: threading.Event, until: float) -> None:
        mine.wait(until - monotonic())
        with self._lock:
            if mine in self._waiting:  # nobody handed it a place: the time is over, or the client has gone
                raise Full

    def _give_up(self, mine: threading.Event) -> None:
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return
        self._leave()  # a place was handed over, and nobody wants it

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self.n_out -= 1
