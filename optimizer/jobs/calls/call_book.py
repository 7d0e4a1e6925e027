"""Journals one study's calls: transactions, and sums around them. Nothing is sent here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from optimizer.core.base.errors import ModelFailed
from optimizer.core.base.values import Budget, Spend
from optimizer.core.models.budget import HeldBack, charge_after_failure, denial_of
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.jobs.ids import new_id
from optimizer.ports import Clock, JournalEntry, Store, Transaction

SHARED_FOR = timedelta(days=30)  # how long an answer at temperature 0 serves other studies


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays for calls, and under which caps.

    Args:
        study: whose calls these are; None for calls outside a study. Their budget then counts ``own_spend`` where that
            is given, else what this one model is asked.
        purpose: search, confirmation, proposer, evaluation, timing, serving or rehearsal (a drill).
        budget: caps of calls and dollars over everything the study has spent, in any process.
        held: what must be left over at the moment, where ``budget`` does not already leave it out.
    """

    study: str | None
    family: str | None
    purpose: str
    budget: Budget
    held: Callable[[], HeldBack] = HeldBack
    own_spend: OwnSpend | None = None


class CallBook:
    """Reservations, ends and finds. What writes is returned as a function of the transaction.

    Args:
        price: of the model today; None where unknown.
    """

    def __init__(self, store: Store, clock: Clock, account: Account, *, price: ModelPrice | None) -> None:
        self._store = store
        self._clock = clock
        self._study, self._family, self._purpose = account.study, account.family, account.purpose
        self._budget, self._held = account.budget, account.held
        self._price = price
        self._own = account.own_spend or OwnSpend()

    def known(self, keys: Collection[str]) -> dict[str, ModelAnswer]:
        """What the journal answers of these requests, by key."""
        with self._store.read() as tx:
            answers = self._store.journal.find_all(
                tx, keys, study=self._study, not_before=self._clock.now() - SHARED_FOR
            )
        return {key: at_todays_price(answer, self._price) for key, answer in answers.items()}

    def entry(self, request: ModelRequest, key: str, attempt: int, reserve_usd: float) -> JournalEntry:
        """One attempt as it is journaled before it is sent."""
        return JournalEntry(
            id=new_id("ca"),
            key=key,
            status="sent",
            purpose=self._purpose,
            model=request.model,
            attempt=attempt,
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

    def reserve(self, entry: JournalEntry) -> Callable[[Transaction], ModelAnswer | str | None]:
        """Journals the call if it fits; else says why it does not, or gives the answer that the journal has.

        One transaction of the database's only writer at a time, so that no two calls see the same rest.
        """

        def write(tx: Transaction) -> ModelAnswer | str | None:
            answer = self._store.journal.find(
                tx, entry.key, study=self._study, not_before=self._clock.now() - SHARED_FOR
            )
            if answer is not None:
                return at_todays_price(answer, self._price)
            spend = self._store.journal.spend(tx, self._study) if self._study is not None else self._own.spend
            denial = denial_of(self._budget, spend, entry.reserved_usd, self._held())
            if denial is not None:
                return denial
            self._store.journal.send(tx, entry)
            self._own.add(entry.reserved_usd)
            return None

        return write

    def settle(self, entry: JournalEntry, answer: ModelAnswer) -> Callable[[Transaction], None]:
        self._own.replace(entry.reserved_usd, answer.cost_usd)
        at = self._clock.now()
        return lambda tx: self._store.journal.settle(tx, entry.id, answer, at)

    def fail(self, entry: JournalEntry, error: BaseException, *, sent: bool = True) -> Callable[[Transaction], None]:
        """After a fault of ours or an interrupt the call may have been ``sent``, so it still counts at its reserved
        price.
        """
        if isinstance(error, ModelFailed):
            reason = error.detail if error.said is None else f"{error.detail} It said: {error.said}"
        else:
            reason = f"{type(error).__name__}: {error}"
        cost_usd = charge_after_failure(error, entry.reserved_usd, was_sent=sent)
        self._own.replace(entry.reserved_usd, cost_usd)
        at = self._clock.now()
        return lambda tx: self._store.journal.fail(tx, entry.id, reason, cost_usd, at)


def at_todays_price(answer: ModelAnswer, price: ModelPrice | None) -> ModelAnswer:
    """A journaled answer at today's price: beside fresh answers, an old price would look like a saving or a loss."""
    return answer if price is None else replace(answer, cost_usd=price.of(answer.input_tokens, answer.output_tokens))


class OwnSpend:
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
