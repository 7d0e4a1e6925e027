"""One model call, journaled before it is sent and settled after: nothing is asked twice, and no cap is passed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import stamina

from optimizer.core.base.errors import ModelFailed, StudyStopped
from optimizer.core.base.values import Budget
from optimizer.core.models.budget import HeldBack, output_limit, require_bounded, reservation_usd, worth_a_retry
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.call_book import CallBook, OwnSpend, found_or_allowed
from optimizer.jobs.calls.call_slots import Slots, await_for, slots_of, wait_for
from optimizer.ports import AnswersCoroutines, Clock, LanguageModel, Store

WAIT_INITIAL_S, WAIT_MAX_S = 0.5, 10.0
STAND_BACK_S = 0.1  # between two looks whether users still wait


class JournaledModel:
    """A LanguageModel behind journal, budget and stop flag. Thread-safe, and one for threads and coroutines together.

    ``complete`` and ``acomplete`` take the same steps in the same order; a coroutine's commits share the writer's like those of many threads do.

    Args:
        study: whose calls these are; None for calls outside a study, whose budget then counts this object's calls only.
        budget: caps of calls and dollars over everything the study has spent, in whatever process.
        purpose: search, confirmation, proposer, evaluation, serving or rehearsal.
        stop: asked before every attempt; a sentence means stop.
        concurrency: attempts in flight at once; default what the model is good for, for all studies of the process together where it
            takes coroutines.
        held: what must be left over at the moment, where ``budget`` does not already leave it out.
        users_wait: whether a user's call is under way; no attempt begins before it says no.
    Raises:
        BudgetTooSmall: a dollar cap over a model whose calls have no bounded price.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        store: Store,
        clock: Clock,
        study: str | None,
        family: str | None,
        budget: Budget,
        purpose: str,
        stop: Callable[[], str | None] = lambda: None,
        concurrency: int | None = None,
        held: Callable[[], HeldBack] = HeldBack,
        own_spend: OwnSpend | None = None,
        users_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        if model.price is None:
            require_bounded(model.name, None, None, budget)
        self.model = model
        self._coroutines = model if isinstance(model, AnswersCoroutines) else None
        self._store = store
        self._budget = budget
        self._stop, self._users_wait = stop, users_wait
        self._book = CallBook(
            store, clock, study=study, family=family, budget=budget, purpose=purpose, price=model.price, held=held, own_spend=own_spend
        )
        # Embedded processes come and go, and each keeps to one call by itself; a provider counts what all studies send together.
        is_shared = self._coroutines is not None and concurrency in (None, model.concurrency)
        self._concurrency = None if is_shared else concurrency
        self._slots = slots_of(model, model.concurrency) if is_shared else Slots(self.concurrency)
        self._remembers = study is not None  # thresholds ask for the same answers again and again; what serves would never end remembering
        self._remembered: dict[str, ModelAnswer] = {}
        self._in_flight: dict[str, Future[ModelAnswer]] = {}
        self._in_flight_lock = threading.Lock()

    @property
    def takes_coroutines(self) -> bool:
        """Whether ``acomplete`` can be used: the model is one of those that only wait."""
        return self._coroutines is not None

    @property
    def concurrency(self) -> int:
        """Calls worth having in flight at once now."""
        return self._concurrency or self.model.concurrency

    def known(self, keys: Collection[str]) -> dict[str, ModelAnswer]:
        """What the journal answers of these requests, by key: one question to the database instead of one for each."""
        return self._book.known(keys)

    def complete(self, request: ModelRequest, *, looked_up: bool = False) -> ModelAnswer:
        """The journaled answer, which neither budget nor stop flag concerns, or a fresh one.

        Args:
            looked_up: ``known`` had no answer a moment ago, so only the transaction that would journal the call looks again.
        Raises:
            BudgetExhausted: the call could pass a cap; nothing was sent.
            StudyStopped: the stop flag is set; nothing was sent.
            ModelFailed: no usable answer after all retries, each of them journaled.
        """
        key = request.key
        flight, is_own = self._take_off(key)
        if not is_own:
            return replace(wait_for(flight, self._check_stop), from_journal=True)
        try:
            answer = self._remembered.get(key) or (None if looked_up else self._book.known([key]).get(key))
            if answer is None:
                answer = self._ask(request, key)
            if self._remembers:
                self._remembered[key] = replace(answer, from_journal=True)
        except BaseException as error:
            self._land(key).set_exception(error)
            raise
        self._land(key).set_result(answer)
        return answer

    async def acomplete(self, request: ModelRequest) -> ModelAnswer:
        """``complete`` as a coroutine, of a request that ``known`` had no answer for a moment ago. Raises the same."""
        key = request.key
        flight, is_own = self._take_off(key)
        if not is_own:
            return replace(await await_for(flight, self._check_stop), from_journal=True)
        try:
            answer = await self._aask(request, key)
        except BaseException as error:
            self._land(key).set_exception(error)
            raise
        self._land(key).set_result(answer)
        return answer

    def _ask(self, request: ModelRequest, key: str) -> ModelAnswer:
        reserve_usd = self._reservation(request)
        answer: ModelAnswer | None = None
        for attempt in self._attempts():
            with attempt, self._place():
                answer = self._attempt(request, key, attempt.num, reserve_usd)
        assert answer is not None
        return answer

    async def _aask(self, request: ModelRequest, key: str) -> ModelAnswer:
        reserve_usd = self._reservation(request)
        answer: ModelAnswer | None = None
        async for attempt in self._attempts():
            with attempt:
                async with self._aplace():
                    answer = await self._aattempt(request, key, attempt.num, reserve_usd)
        assert answer is not None
        return answer

    def _attempt(self, request: ModelRequest, key: str, number: int, reserve_usd: float) -> ModelAnswer:
        entry = self._book.entry(request, key, number, reserve_usd)
        found = found_or_allowed(self._store.write(self._book.reserve(entry)))
        if found is not None:
            return found
        try:
            answer = self.model.complete(request)
        except BaseException as error:
            self._store.write(self._book.fail(entry, error))
            raise
        self._store.write(self._book.settle(entry, answer))
        return replace(answer, from_journal=False)

    async def _aattempt(self, request: ModelRequest, key: str, number: int, reserve_usd: float) -> ModelAnswer:
        assert self._coroutines is not None
        entry = self._book.entry(request, key, number, reserve_usd)
        found = found_or_allowed(await self._store.awrite(self._book.reserve(entry)))
        if found is not None:
            return found
        try:
            answer = await self._coroutines.acomplete(request)
        except BaseException as error:
            await self._store.awrite(self._book.fail(entry, error))
            raise
        await self._store.awrite(self._book.settle(entry, answer))
        return replace(answer, from_journal=False)

    def _reservation(self, request: ModelRequest) -> float:
        max_tokens = output_limit(request.params, self.model.max_output_tokens)
        require_bounded(self.model.name, self.model.price, max_tokens, self._budget)
        return reservation_usd(request, self.model.price, max_tokens)

    def _attempts(self) -> Any:
        return stamina.retry_context(
            on=_wait_before_retry,
            attempts=self.model.retries + 1,
            timeout=None,
            wait_initial=WAIT_INITIAL_S,
            wait_max=WAIT_MAX_S,
            wait_jitter=WAIT_INITIAL_S,
        )

    def _take_off(self, key: str) -> tuple[Future[ModelAnswer], bool]:
        """(the call of this key that is in flight, whether it is one's own to make)."""
        with self._in_flight_lock:
            first = self._in_flight.get(key)
            if first is not None:
                return first, False
            mine = self._in_flight[key] = Future()
            return mine, True

    def _land(self, key: str) -> Future[ModelAnswer]:
        with self._in_flight_lock:
            return self._in_flight.pop(key)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place while no user waits; raises StudyStopped. None is held meanwhile: studies that do not stand back share them."""
        self._slots.grow(self.concurrency)
        while True:
            with self._slots.taken(self._check_stop):
                self._check_stop()
                if not self._users_wait():
                    yield
                    return
            time.sleep(STAND_BACK_S)

    @asynccontextmanager
    async def _aplace(self) -> AsyncIterator[None]:
        while True:
            async with self._slots.ataken(self._check_stop):
                self._check_stop()
                if not self._users_wait():
                    yield
                    return
            await asyncio.sleep(STAND_BACK_S)

    def _check_stop(self) -> None:
        reason = self._stop()
        if reason is not None:
            raise StudyStopped(reason)


def _wait_before_retry(error: Exception) -> bool | float:
    """False: no retry. True: after the usual backoff. A number: the seconds that the provider asked for."""
    if not isinstance(error, ModelFailed) or not worth_a_retry(error.kind, error.members.get("status_of_model")):
        return False
    asked: Any = error.members.get("retry_after_s")
    return min(float(asked), WAIT_MAX_S) if isinstance(asked, int | float) and asked > 0 else True
