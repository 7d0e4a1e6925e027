"""One model call, journaled before it is sent and settled after: nothing is asked twice, and no cap is passed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import stamina

from optimizer.core.budget import (
    Denied,
    HeldBack,
    charge_after_failure,
    may_spend,
    output_limit,
    require_bounded,
    reservation_usd,
    worth_a_retry,
)
from optimizer.core.errors import BudgetExhausted, ModelFailed, StudyStopped
from optimizer.core.language import ModelAnswer, ModelRequest
from optimizer.core.study import Budget, Spend
from optimizer.jobs.ids import new_id
from optimizer.ports import Clock, JournalEntry, LanguageModel, Store, Transaction

SHARED_FOR = timedelta(days=30)  # how long an answer at temperature 0 serves other studies
WAIT_INITIAL_S, WAIT_MAX_S = 0.5, 10.0
STOP_CHECK_S = 0.25


class JournaledModel:
    """A LanguageModel behind journal, budget and stop flag. Thread-safe.

    Args:
        study: whose calls these are; None for calls outside a study, whose budget then counts this object's calls only.
        budget: caps of calls and dollars over everything the study has spent, in whatever process.
        purpose: search, confirmation, proposer, evaluation, serving or rehearsal.
        stop: asked before every attempt; a sentence means stop.
        concurrency: attempts in flight at once; default what the model is good for.
        held: what must be left over at the moment, where ``budget`` does not already leave it out.
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
    ) -> None:
        if model.price is None:
            require_bounded(model.name, None, None, budget)
        self.model = model
        self._store = store
        self._clock = clock
        self._study = study
        self._family = family
        self._budget = budget
        self._purpose = purpose
        self._stop = stop
        self._held = held
        self._slots = threading.Semaphore(concurrency or model.concurrency)
        self._in_flight: dict[str, Future[ModelAnswer]] = {}
        self._in_flight_lock = threading.Lock()
        self._own = _OwnSpend()

    def known(self, keys: Collection[str]) -> dict[str, ModelAnswer]:
        """What the journal answers of these requests, by key: one question to the database instead of one for each."""
        with self._store.read() as tx:
            found = self._store.journal.find_all(tx, keys, study=self._study, not_before=self._clock.now() - SHARED_FOR)
        return {key: self._at_todays_price(answer) for key, answer in found.items()}

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
        with self._in_flight_lock:
            first = self._in_flight.get(key)
            if first is None:
                mine: Future[ModelAnswer] = Future()
                self._in_flight[key] = mine
        if first is not None:
            return replace(self._wait_for(first), from_journal=True)
        try:
            answer = None
            if not looked_up:
                with self._store.read() as tx:
                    answer = self._find(tx, key)
            if answer is None:
                answer = self._ask(request, key)
        except BaseException as error:
            self._leave(key)
            mine.set_exception(error)
            raise
        self._leave(key)
        mine.set_result(answer)
        return answer

    def _ask(self, request: ModelRequest, key: str) -> ModelAnswer:
        max_tokens = output_limit(request.params, self.model.max_output_tokens)
        require_bounded(self.model.name, self.model.price, max_tokens, self._budget)
        reserve_usd = reservation_usd(request, self.model.price, max_tokens)
        answer: ModelAnswer | None = None
        for attempt in stamina.retry_context(
            on=_wait_before_retry,
            attempts=self.model.retries + 1,
            timeout=None,
            wait_initial=WAIT_INITIAL_S,
            wait_max=WAIT_MAX_S,
            wait_jitter=WAIT_INITIAL_S,
        ):
            with attempt, self._slot():
                self._check_stop()
                answer = self._attempt(request, key, attempt.num, reserve_usd)
        assert answer is not None
        return answer

    def _attempt(self, request: ModelRequest, key: str, number: int, reserve_usd: float) -> ModelAnswer:
        entry = JournalEntry(
            id=new_id("ca"),
            key=key,
            status="sent",
            purpose=self._purpose,
            model=request.model,
            attempt=number,
            reserved_usd=reserve_usd,
            sent_at=self._clock.now(),
            study=self._study,
            family=self._family,
            temperature=request.temperature,
            request={
                "messages": [dict(m) for m in request.messages],
                "params": dict(request.params),
                "revision": request.revision,
                "sample": request.sample,
            },
        )
        decision = self._store.write(lambda tx: self._reserve(tx, entry))
        if isinstance(decision, ModelAnswer):  # another process settled it meanwhile
            return decision
        if isinstance(decision, Denied):
            raise BudgetExhausted(decision.reason)
        try:
            answer = self.model.complete(request)
        except ModelFailed as error:
            status = error.members.get("status_of_model")
            charged = charge_after_failure(error.kind, status, bool(error.members.get("sent", True)), reserve_usd)
            self._fail(entry, error.detail, charged)
            raise
        except BaseException as error:  # a fault of ours or an interrupt: it may have been sent, so it stays counted
            self._fail(entry, f"{type(error).__name__}: {error}", reserve_usd)
            raise
        self._own.replace(reserve_usd, answer.cost_usd)
        at = self._clock.now()
        self._store.write(lambda tx: self._store.journal.settle(tx, entry.id, answer, at))
        return replace(answer, from_journal=False)

    def _reserve(self, tx: Transaction, entry: JournalEntry) -> ModelAnswer | Denied | None:
        """Journal the call if it fits. One transaction of the database's only writer at a time, so that no two calls see the same rest."""
        found = self._find(tx, entry.key)
        if found is not None:
            return found
        spend = self._store.journal.spend(tx, self._study) if self._study is not None else self._own.spend
        decision = may_spend(self._budget, spend, entry.reserved_usd, self._held())
        if isinstance(decision, Denied):
            return decision
        self._store.journal.send(tx, entry)
        self._own.add(entry.reserved_usd)
        return None

    def _find(self, tx: Transaction, key: str) -> ModelAnswer | None:
        found = self._store.journal.find(tx, key, study=self._study, not_before=self._clock.now() - SHARED_FOR)
        return None if found is None else self._at_todays_price(found)

    def _at_todays_price(self, answer: ModelAnswer) -> ModelAnswer:
        """A journaled answer as it would cost now: compared with fresh ones, an old price would look like a saving or a loss."""
        price = self.model.price
        return answer if price is None else replace(answer, cost_usd=price.of(answer.input_tokens, answer.output_tokens))

    def _fail(self, entry: JournalEntry, reason: str, cost_usd: float) -> None:
        self._own.replace(entry.reserved_usd, cost_usd)
        at = self._clock.now()
        self._store.write(lambda tx: self._store.journal.fail(tx, entry.id, reason, cost_usd, at))

    def _leave(self, key: str) -> None:
        with self._in_flight_lock:
            del self._in_flight[key]

    def _wait_for(self, first: Future[ModelAnswer]) -> ModelAnswer:
        while True:
            try:
                return first.result(timeout=STOP_CHECK_S)
            except FutureTimeout:
                if not first.done():
                    self._check_stop()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        while not self._slots.acquire(timeout=STOP_CHECK_S):
            self._check_stop()
        try:
            yield
        finally:
            self._slots.release()

    def _check_stop(self) -> None:
        reason = self._stop()
        if reason is not None:
            raise StudyStopped(reason)


class _OwnSpend:
    """What calls outside a study have used; changed inside the store's writer and after answers."""

    def __init__(self) -> None:
        self.spend = Spend()
        self._lock = threading.Lock()

    def add(self, reserved_usd: float) -> None:
        with self._lock:
            self.spend = replace(self.spend, usd=self.spend.usd + reserved_usd, n_calls=self.spend.n_calls + 1)

    def replace(self, reserved_usd: float, cost_usd: float) -> None:
        with self._lock:
            self.spend = replace(self.spend, usd=self.spend.usd - reserved_usd + cost_usd)


def _wait_before_retry(error: Exception) -> bool | float:
    """False: no retry. True: after the usual backoff. A number: the seconds that the provider asked for."""
    if not isinstance(error, ModelFailed) or not worth_a_retry(error.kind, error.members.get("status_of_model")):
        return False
    asked: Any = error.members.get("retry_after_s")
    return min(float(asked), WAIT_MAX_S) if isinstance(asked, int | float) and asked > 0 else True
