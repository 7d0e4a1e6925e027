"""The one place where code that blocks waits for a model: optimizers of DSPy and GEPA, strategies, jobs in threads.

A process makes its model calls in one event loop with a thread of its own. Connections and slots belong to a loop, so
all studies share one, which stays.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
N_THREADS = 64  # for work that blocks beside the calls, such as reading the journal; as many for the user's functions


class _Loop:
    """Started with the first call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(ThreadPoolExecutor(N_THREADS, thread_name_prefix="detent-beside-calls"))
                self._thread = threading.Thread(target=self._loop.run_forever, name="detent-model-calls", daemon=True)
                self._thread.start()
            return self._loop

    def require_other_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a wait inside the loop of model calls would wait for itself; await the coroutine")


_LOOP = _Loop()
_FUNCTIONS = ThreadPoolExecutor(N_THREADS, thread_name_prefix="detent-functions")


async def run_beside(function: Callable[..., T], *arguments: Any) -> T:
    """Runs a function of the user in a thread of its own, so that calls go on however long it takes and whatever it
    asks.
    """
    in_context = partial(copy_context().run, function, *arguments)
    return await asyncio.get_running_loop().run_in_executor(_FUNCTIONS, in_context)


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in the loop of model calls and returns its result in this thread.

    An interrupt, such as Ctrl-C, cancels the coroutine and is raised once that has come to its end: what was paid for
    is kept.
    """
    _LOOP.require_other_thread()
    loop = _LOOP.get()
    ended: Future[T] = Future()

    async def run() -> None:
        try:
            result = await coroutine
        except BaseException as fault:  # kept here: a loop does not outlive what is no Exception
            ended.set_exception(fault)
        else:
            ended.set_result(result)

    def begin() -> None:
        tasks.append(loop.create_task(run()))
        # This matters only where it was cancelled before its first step.
        tasks[0].add_done_callback(lambda _: ended.cancel())

    def stop() -> None:
        if tasks:
            tasks[0].cancel()
        else:  # interrupted before ``begin`` was handed over
            ended.cancel()

    tasks: list[asyncio.Task[None]] = []
    try:
        loop.call_soon_threadsafe(begin)
        return ended.result()
    except BaseException:
        if not ended.done():
            loop.call_soon_threadsafe(stop)
            wait([ended])
        raise
