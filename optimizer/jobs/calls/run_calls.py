"""The calls of what runs in the background outside studies: one budget, one journal, one way to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from optimizer.core.base.values import Budget, Spend
from optimizer.core.models.budget import require_bounded
from optimizer.jobs.calls.call_book import Account, OwnSpend
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.ports import Clock, ModelSource, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundRun:
    """A run whose calls are journaled under ``id``, so that its caps hold over a restart.

    ``stop``: called before each call; a sentence means stop. ``progress``: takes how many have been asked.
    """

    id: str
    stop: Callable[[], str | None]
    progress: Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class RunCalls:
    """How models are asked outside studies. Without a run the caps hold for the calls made here."""

    store: Store
    clock: Clock
    models: ModelSource
    budget: Budget
    run: BackgroundRun | None = None
    users_wait: Callable[[], bool] = lambda: False  # whether a user's call is under way, which goes before these
    spent: OwnSpend = field(default_factory=OwnSpend)

    def require_bounded(self, names: Iterable[str], max_tokens: int) -> None:
        """Raises BudgetTooSmall: a cap in dollars over a model without a known price."""
        for name in names:
            require_bounded(name, self.models.price(name), max_tokens, self.budget)

    def journaled(self, name: str, *, family: str, purpose: str) -> JournaledModel:
        account = Account(
            study=self.run.id if self.run is not None else None,
            family=family,
            purpose=purpose,
            budget=self.budget,
            own_spend=self.spent,
        )
        return JournaledModel(
            self.models.get(name),
            account,
            store=self.store,
            clock=self.clock,
            stop=self.run.stop if self.run is not None else lambda: None,
            users_wait=self.users_wait,
        )

    def counted(self) -> Callable[[object], None]:
        """What is called after each answer, by any thread, and tells the run how many there are."""
        lock, numbers = threading.Lock(), count(1)

        def tell(_: object) -> None:
            with lock:
                n_done = next(numbers)
                if self.run is not None:
                    self.run.progress(n_done)

        return tell

    def spend(self) -> Spend:
        """What the run spent, also before a restart."""
        if self.run is None:
            return self.spent.spend
        with self.store.read() as tx:
            return self.store.journal.spend(tx, self.run.id)
