"""So many calls in flight at once, first come first served, for threads and coroutines alike."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
STOP_CHECK_S = 0.25


class Slots:
    """Places to be held while a call is on the wire. ``check`` is asked now and then while one waits, and raises to give up."""

    def __init__(self, n: int) -> None:
        self._n = self._n_free = n
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def grow(self, n: int) -> None:
        """At least ``n`` places from now on; places are never taken away."""
        with self._lock:
            n_more = max(0, n - self._n)
            self._n += n_more
        for _ in range(n_more):
            self._release()

    @contextmanager
    def taken(self, check: Callable[[], None]) -> Iterator[None]:
        """For a thread."""
        turn = self._ask()
        try:
            wait_for(turn, check)
        except BaseException:
            self._give_up(turn)
            raise
        try:
            yield
        finally:
            self._release()

    @asynccontextmanager
    async def ataken(self, check: Callable[[], None]) -> AsyncIterator[None]:
        """For a coroutine."""
        turn = self._ask()
        try:
            await await_for(turn, check)
        except BaseException:
            self._give_up(turn)
            raise
        try:
            yield
        finally:
            self._release()

    def _ask(self) -> Future[None]:
        """Done at once, or when it is one's turn."""
        turn: Future[None] = Future()
        with self._lock:
            if self._n_free == 0:
                self._waiting.append(turn)
                return turn
            self._n_free -= 1
        turn.set_result(None)
        return turn

    def _give_up(self, turn: Future[None]) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self._release()  # it was given at this very moment

    def _release(self) -> None:
        with self._lock:
            if not self._waiting:
                self._n_free += 1
                return
            turn = self._waiting.popleft()
        turn.set_result(None)


_OF_MODELS: WeakKeyDictionary[object, Slots] = WeakKeyDictionary()
_OF_MODELS_LOCK = threading.Lock()


def slots_of(model: object, n: int) -> Slots:
    """The places of one model, for all studies of this process together; ``n`` counts when they are made."""
    with _OF_MODELS_LOCK:
        return _OF_MODELS.setdefault(model, Slots(n))


def wait_for(future: Future[T], check: Callable[[], None]) -> T:
    """What the future holds in the end; ``check`` is asked four times a second meanwhile and may raise."""
    while True:
        try:
            return future.result(timeout=STOP_CHECK_S)
        except FutureTimeout:
            if not future.done():
                check()


async def await_for(future: Future[T], check: Callable[[], None]) -> T:
    """``wait_for`` of a coroutine. The future is nobody's to cancel: others wait for it too."""
    if not future.done():
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
        while not over.is_set():
            try:
                async with asyncio.timeout(STOP_CHECK_S):
                    await over.wait()
            except TimeoutError:
                check()
    return future.result()
