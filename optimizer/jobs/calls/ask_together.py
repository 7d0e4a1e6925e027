"""Many questions at once in the loop of model calls; what computes, such as a metric, runs in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from optimizer.core.search.prefix_queue import Rows

Question = TypeVar("Question")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Generic[Question]):
    """Questions to one model, in rows that share a prefix: what a process has read serves its next question."""

    rows: Rows[Question]
    n_at_once: int


async def ask_together(
    shares: Sequence[Share[Question]],
    ask: Callable[[Question], Awaitable[Outcome]],
    done: Callable[[Question, Outcome], None],
) -> None:
    """After the first fault nothing more is begun. Calls in flight are finished, since they are paid for; then it is
    raised.

    Args:
        done: called for each answer as it comes, by one of several threads, so that no other call waits for it.
    """
    n_at_once = sum(share.n_at_once for share in shares)
    # Each begun when needed.
    with ThreadPoolExecutor(max(1, n_at_once), thread_name_prefix="detent-evaluation") as threads:
        batch = _Batch(ask, done, threads)
        workers = [asyncio.create_task(batch.work(share.rows)) for share in shares for _ in range(share.n_at_once)]
        try:
            await _ended(workers)
            await _ended(batch.telling)
        except asyncio.CancelledError as interrupt:
            batch.fault = batch.fault or interrupt
            await _ended(workers)
            await _ended(batch.telling)
    if batch.fault is not None:
        raise batch.fault


class _Batch(Generic[Question, Outcome]):
    def __init__(
        self,
        ask: Callable[[Question], Awaitable[Outcome]],
        done: Callable[[Question, Outcome], None],
        threads: Executor,
    ) -> None:
        self._ask, self._done, self._threads = ask, done, threads
        self.fault: BaseException | None = None
        self.telling: list[asyncio.Future[None]] = []

    async def work(self, rows: Rows[Question]) -> None:
        row = None
        while self.fault is None and (item := rows.take(row)) is not None:
            row, question = item
            try:
                outcome = await self._ask(question)
            except BaseException as fault:  # kept here: a loop does not outlive what is no Exception
                self.fault = self.fault or fault
            else:
                self.telling.append(
                    asyncio.get_running_loop().run_in_executor(self._threads, self._tell, question, outcome)
                )

    def _tell(self, question: Question, outcome: Outcome) -> None:
        try:
            self._done(question, outcome)
        except BaseException as fault:
            self.fault = self.fault or fault


async def _ended(tasks: Sequence[asyncio.Future[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
