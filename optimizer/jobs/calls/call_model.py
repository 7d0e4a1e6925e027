"""A study's way to a model: found in the journal, else reserved under the caps, sent and settled.

Nothing is asked twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar
from weakref import WeakKeyDictionary

import structlog

from optimizer.core.base.errors import BudgetExhausted, Busy, ModelFailed, StudyStopped
from optimizer.core.base.values import Budget
from optimizer.core.models.breaker import Backoff
from optimizer.core.models.budget import output_limit, require_bounded, reservation_usd, worth_a_retry
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.host.tracing import TRACING
from optimizer.jobs.calls.call_book import Account, CallBook
from optimizer.jobs.calls.retried_model import RetriedModel, WrappedModel
from optimizer.ports import Clock, LanguageModel, Store, Transaction

BACKOFF = Backoff(initial_s=0.5, max_s=10.0, jitter_s=0.5)


class JournaledModel(WrappedModel):
    """A LanguageModel behind journal, budget and stop flag.

    The journal answers, else the wrappers that are put around ``model`` here. Equal requests at once share one call.

    Args:
        stop: asked before every attempt; a sentence means stop.
        users_wait: whether a user's call is under way; no attempt begins before it says no.
    Raises:
        BudgetTooSmall: a dollar cap over a model whose calls have no bounded price.
    """

    def __init__(
        self,
        model: LanguageModel,
        account: Account,
        *,
        store: Store,
        clock: Clock,
        stop: Callable[[], str | None] = lambda: None,
        users_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        if model.price is None:
            require_bounded(model.name, None, None, account.budget)
        self._book = CallBook(store, clock, account, price=model.price)
        budgeted = BudgetedModel(model, self._book, store, clock, account.budget)
        self._limited = LimitedModel(budgeted, stop=stop, users_wait=users_wait)
        super().__init__(RetriedModel(self._limited, pause_before_retry, BACKOFF, timeout_s=None))
        # Thresholds ask for the same answers again and again; what serves would never end remembering.
        self._remembers = account.study is not None
        self._remembered: dict[str, ModelAnswer] = {}
        self._in_flight: dict[str, asyncio.Future[ModelAnswer]] = {}

    def known(self, keys: Collection[str]) -> dict[str, ModelAnswer]:
        """What the journal answers of these requests, by key: one question to the database instead of one for each."""
        return self._book.known(keys)

    async def complete(self, request: ModelRequest, *, looked_up: bool = False) -> ModelAnswer:
        """The journaled answer, which neither budget nor stop flag concerns, or a fresh one.

        Args:
            looked_up: ``known`` had no answer a moment ago; the transaction that would journal the call looks again.
        Raises:
            BudgetExhausted: the call could pass a cap; nothing was sent.
            StudyStopped: the stop flag is set; nothing was sent.
            ModelFailed: no usable answer after all retries, each of them journaled.
        """
        key = request.key
        if (remembered := self._remembered.get(key)) is not None:
            return remembered
        while (first := self._in_flight.get(key)) is not None:
            try:
                return replace(await wait_checking(first, self._limited.check_stop), from_journal=True)
            except asyncio.CancelledError:
                if not first.cancelled():
                    raise  # this call was interrupted, and not the call that it waits for
        mine = self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            journalled = None if looked_up else (await asyncio.to_thread(self._book.known, [key])).get(key)
            answer = await self.inner.complete(request) if journalled is None else journalled
        except asyncio.CancelledError:
            mine.cancel()  # a call that waits for it was not interrupted, and is made instead
            raise
        except BaseException as error:
            mine.set_exception(error)
            mine.exception()  # others may wait for it, and need not
            raise
        else:
            if self._remembers:
                self._remembered[key] = replace(answer, from_journal=True)
            mine.set_result(answer)
            return answer
        finally:
            del self._in_flight[key]


def pause_before_retry(error: ModelFailed) -> bool | float:
    """False: no retry. True: after the usual backoff. A number: the seconds that the provider asked for."""
    if not worth_a_retry(error.kind, error.members.get("status_of_model")):
        return False
    asked_s = error.members.get("retry_after_s")
    return min(float(asked_s), BACKOFF.max_s) if isinstance(asked_s, int | float) and asked_s > 0 else True


STAND_BACK_S = 0.1  # between two looks whether users still wait


class LimitedModel(WrappedModel):
    """Every call of ``complete`` takes a place, of as many as the model is good for, for all studies of the process.

    Args:
        stop: asked before each call and while it waits; a sentence means stop.
        users_wait: whether a user's call is under way; no call begins before it says no.
    """

    def __init__(self, inner: LanguageModel, *, stop: Callable[[], str | None], users_wait: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._stop, self._users_wait = stop, users_wait
        innermost = inner
        while isinstance(innermost, WrappedModel):
            innermost = innermost.inner
        self._slots = _OF_MODELS.setdefault(innermost, Slots(inner.concurrency))

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises StudyStopped; nothing was sent."""
        async with self._place():
            return await self.inner.complete(request)

    def check_stop(self) -> None:
        """Raises StudyStopped."""
        reason = self._stop()
        if reason is not None:
            raise StudyStopped(reason)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """A place while no user waits. None is held meanwhile: studies that do not stand back share them."""
        self._slots.grow(self.concurrency)  # an embedded model may have got another process
        while True:
            async with self._slots.slot(self.check_stop):
                self.check_stop()
                if not self._users_wait():
                    yield
                    return
            await asyncio.sleep(STAND_BACK_S)


T = TypeVar("T")
# So long what came of a call waits for a held store: longer than a backup or migration takes, and short enough for one
# who waits for the command, since the call's place stays taken.
HELD_AT_MOST = timedelta(minutes=5)
log = structlog.get_logger(__name__)


class BudgetedModel(WrappedModel):
    """Sends nothing that could exceed a cap. A sent call counts at the highest price until its own is known.

    The transaction that journals the call also checks the budget, so that no two calls see the same rest.
    """

    def __init__(self, inner: LanguageModel, book: CallBook, store: Store, clock: Clock, budget: Budget) -> None:
        super().__init__(inner)
        self._book, self._store, self._clock, self._budget = book, store, clock, budget
        self._failed: Counter[str] = Counter()  # attempts in a row by request key

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises BudgetExhausted (nothing was sent), and what the model raises, once that is journaled.

        An interrupt is raised once the journal says what came of the call.
        """
        key = request.key
        max_tokens = output_limit(request.params, self.max_output_tokens)
        require_bounded(self.name, self.price, max_tokens, self._budget)
        entry = self._book.entry(request, key, self._failed[key] + 1, reservation_usd(request, self.price, max_tokens))
        decision, interrupt = await self._written(self._book.reserve(entry))
        if isinstance(decision, str):
            raise BudgetExhausted(decision)
        # An answer: another process settled it meanwhile; None: the call may be sent.
        if interrupt is not None:
            if decision is None:
                self._failed[key] += 1
                await self._written(self._book.fail(entry, interrupt, sent=False))
            raise interrupt
        if decision is not None:
            return decision
        try:
            with TRACING.model_call(request) as span:
                answer = await self.inner.complete(request)
                TRACING.answered(span, answer)
        except BaseException as error:
            self._failed[key] += 1
            _, interrupt = await self._written(self._book.fail(entry, error), again=isinstance(error, Exception))
            if interrupt is not None:
                raise interrupt from error
            raise
        self._failed.pop(key, None)
        _, interrupt = await self._written(self._book.settle(entry, answer), again=True)
        if interrupt is not None:
            raise interrupt
        return replace(answer, from_journal=False)

    async def _written(
        self, fn: Callable[[Transaction], T], *, again: bool = False
    ) -> tuple[T, asyncio.CancelledError | None]:
        """The result of ``fn``; an interrupt that comes meanwhile is raised after it.

        Ending the write would lose a paid answer, or leave a reservation without a call.

        Args:
            again: whether to try again while other writers hold the store, for HELD_AT_MOST or until an interrupt; the
                stop flag is not asked meanwhile.
        Raises:
            Busy: the store was held for longer, or another try does not help.
        """
        interrupt, until = None, None
        while True:
            writing = asyncio.ensure_future(self._store.awrite(fn))
            while not writing.done():
                try:
                    await asyncio.wait([writing])
                except asyncio.CancelledError as error:
                    interrupt = error
            fault = writing.exception()
            if fault is None:
                return writing.result(), interrupt
            if interrupt is not None:
                raise interrupt from fault
            now, is_first = self._clock.now(), until is None
            until = until or now + HELD_AT_MOST
            if not (again and isinstance(fault, Busy) and fault.passes and now < until):
                raise fault
            if is_first:
                log.warning("outcome_waits_for_store", model=self.name, error=fault.detail, until=until.isoformat())
            try:
                await asyncio.sleep(float(fault.members.get("retry_after_s", 1)))
            except asyncio.CancelledError as error:
                interrupt = error  # raised after one more attempt


STOP_CHECK_S = 0.25


class Slots:
    """Places to be held while a call is on the wire."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._free = asyncio.Semaphore(n)

    def grow(self, n: int) -> None:
        """Makes at least ``n`` slots from now on; slots are never taken away."""
        for _ in range(n - self._n):
            self._free.release()
        self._n = max(self._n, n)

    @asynccontextmanager
    async def slot(self, check: Callable[[], None]) -> AsyncIterator[None]:
        """``check`` is asked now and then while one waits, and raises to give up."""
        if self._free.locked():
            turn = asyncio.ensure_future(self._free.acquire())
            try:
                await wait_checking(turn, check)
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._free.release()  # it was given at this very moment
                turn.cancel()
                raise
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()


_OF_MODELS: WeakKeyDictionary[object, Slots] = WeakKeyDictionary()


async def wait_checking(future: asyncio.Future[T], check: Callable[[], None]) -> T:
    """What the future holds in the end; ``check`` is asked four times a second meanwhile, and may raise.

    Others may wait for the future too.
    """
    while not future.done():
        await asyncio.wait([future], timeout=STOP_CHECK_S)
        if not future.done():
            check()
    return future.result()
