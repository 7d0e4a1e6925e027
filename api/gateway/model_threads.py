"""Blocking model calls beside the event loop: so many at once, and so many waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from optimizer.core.base.errors import Busy

T = TypeVar("T")

N_THREADS = 256  # most of them wait: each model lets only as many calls out as config/models.yaml says
N_WAITING = 256


class ModelThreads:
    """A bounded pool of threads for model calls. Used from one event loop."""

    def __init__(self, n_threads: int = N_THREADS, n_waiting: int = N_WAITING) -> None:
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="model")
        self._most = n_threads + n_waiting
        self.n_held = 0

    def start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The coming result of ``call``; raises Busy where too many wait already."""
        if self.n_held >= self._most:
            raise Busy(
                f"{self.n_held} model calls are in work or waiting, and more would only wait longer. Try again in a few seconds.",
                retry_after_s=5,
            )
        future: Future[T] = self._pool.submit(call)
        self.n_held += 1
        wrapped = asyncio.wrap_future(future)
        wrapped.add_done_callback(self._let_go)
        return wrapped

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _let_go(self, _: asyncio.Future[T]) -> None:
        self.n_held -= 1
