"""Blocking model calls beside the event loop: so many at once, so many waiting, and none for a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import Request

from optimizer.core.errors import Busy

T = TypeVar("T")

N_THREADS = 32
N_WAITING = 256
GONE_CHECK_S = 0.25


class ClientGone(Exception):
    """Nobody waits for the answer any more, and the call had not begun."""


class ModelThreads:
    """A bounded pool of threads for model calls. Used from one event loop."""

    def __init__(self, n_threads: int = N_THREADS, n_waiting: int = N_WAITING) -> None:
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="model")
        self._most = n_threads + n_waiting
        self.n_held = 0

    async def run(self, call: Callable[[], T], request: Request) -> T:
        """The result of ``call``. A call in progress is finished when its client goes, since it is paid for and goes on record.

        Raises:
            Busy: too many calls wait already.
            ClientGone: the client went before the call began.
        """
        if self.n_held >= self._most:
            raise Busy(
                f"{self.n_held} model calls are in work or waiting, and more would only wait longer. Try again in a few seconds.",
                retry_after_s=5,
            )
        self.n_held += 1
        try:
            future = self._pool.submit(call)
            wrapped = asyncio.wrap_future(future)
            while True:
                done, _ = await asyncio.wait({wrapped}, timeout=GONE_CHECK_S)
                if done:
                    return wrapped.result()
                if not future.running() and await request.is_disconnected() and future.cancel():
                    raise ClientGone
        finally:
            self.n_held -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
