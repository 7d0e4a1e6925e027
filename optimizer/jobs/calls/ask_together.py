"""Many questions at once: as coroutines in one thread for models that only wait, by threads for those that compute here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from optimizer.core.search.prefix_queue import Rows

Question = TypeVar("Question")
Outcome = TypeVar("Outcome")


class _Loop:
    """The event loop of this process's model calls, in a thread of its own; started with the first of them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="detent-model-calls", daemon=True).start()
            return self._loop


_LOOP = _Loop()  # one for all studies: connections belong to a loop, and stay warm from batch to batch


class Together(Generic[Question, Outcome]):
    """A batch under way. After the first fault nothing more is begun; what is in flight comes to its end, since it is paid for.

    ``done(question, outcome)`` is called for each as it comes, by one of several threads. Used as a context: it leaves when all have
    ended, and raises the first fault.
    """

    def __init__(self, done: Callable[[Question, Outcome], None], *, n_threads: int) -> None:
        self._done = done
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="detent-evaluation")  # each begun when needed
        self._under_way: list[Future[Any]] = []
        self._ended = threading.Event()
        self._fault: BaseException | None = None
        self._lock = threading.Lock()

    def by_coroutines(self, questions: Sequence[Question], ask: Callable[[Question], Awaitable[Outcome]], *, n_at_once: int) -> None:
        """Begun in order. Scoring is left to threads, so that whatever it takes, no other call waits for it."""
        waiting = iter(questions)
        all_of_them = self._ask_all(waiting, ask, n_at_once)
        self._under_way.append(asyncio.run_coroutine_threadsafe(all_of_them, _LOOP.get()))

    def by_threads(self, rows: Rows[Question], ask: Callable[[Question], Outcome], *, n_at_once: int) -> None:
        """Each thread follows a row, so that what one of a model's processes has read of a prompt serves the next question."""

        def work() -> None:
            row = None
            while not self._ended.is_set():
                with self._lock:
                    taken = rows.take(row)
                if taken is None:
                    return
                row, question = taken
                try:
                    outcome = ask(question)
                except BaseException as fault:
                    self._end(fault)
                else:
                    self._tell(question, outcome)

        self._under_way += [self._threads.submit(work) for _ in range(n_at_once)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._end(error)
        try:
            self._wait()
        except BaseException as interrupt:  # nothing under way raises here: somebody does not want to wait
            self._end(interrupt)
            self._wait()
            raise
        if error is None and self._fault is not None:
            raise self._fault

    def _wait(self) -> None:
        for future in self._under_way:
            future.result()
        self._threads.shutdown(wait=True)

    async def _ask_all(self, waiting: Iterator[Question], ask: Callable[[Question], Awaitable[Outcome]], n_at_once: int) -> None:
        async def work() -> None:
            for question in waiting:  # one iterator for all: each takes the next
                try:
                    outcome = await ask(question)
                except BaseException as fault:  # kept here: a loop does not outlive what is no Exception
                    self._end(fault)
                else:
                    self._threads.submit(self._tell, question, outcome)
                if self._ended.is_set():
                    return

        await asyncio.gather(*(work() for _ in range(n_at_once)))

    def _tell(self, question: Question, outcome: Outcome) -> None:
        try:
            self._done(question, outcome)
        except BaseException as fault:
            self._end(fault)

    def _end(self, fault: BaseException) -> None:
        with self._lock:
            self._fault = self._fault or fault
        self._ended.set()
