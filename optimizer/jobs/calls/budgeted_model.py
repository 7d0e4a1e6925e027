"""A model under a study's caps: each attempt is reserved and journaled in one transaction, then sent, then settled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from optimizer.core.base.values import Budget
from optimizer.core.models.budget import output_limit, require_bounded, reservation_usd
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.call_book import CallBook, found_or_allowed
from optimizer.jobs.calls.wrapped_model import WrappedModel
from optimizer.ports import LanguageModel, Store, Transaction

T = TypeVar("T")


class BudgetedModel(WrappedModel):
    """Nothing is sent that could pass a cap, and what was sent counts at the highest price until its own is known.

    The budget is asked in the very transaction that journals the call, so that no two calls see the same rest.
    """

    def __init__(self, inner: LanguageModel, book: CallBook, store: Store, budget: Budget) -> None:
        super().__init__(inner)
        self._book, self._store, self._budget = book, store, budget
        self._failed: Counter[str] = Counter()  # attempts in a row by request key

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises BudgetExhausted (nothing was sent), and what the model raises, once that is journaled.

        An interrupt is raised once the journal says what came of the call.
        """
        key = request.key
        max_tokens = output_limit(request.params, self.max_output_tokens)
        require_bounded(self.name, self.price, max_tokens, self._budget)
        reserve_usd = reservation_usd(request, self.price, max_tokens)
        entry = self._book.entry(request, key, self._failed[key] + 1, reserve_usd)
        decision, interrupt = await self._written(self._book.reserve(entry))
        answer_known = found_or_allowed(decision)
        if interrupt is not None:
            if answer_known is None:
                self._failed[key] += 1
                await self._written(self._book.fail(entry, interrupt, sent=False))
            raise interrupt
        if answer_known is not None:
            return answer_known
        try:
            answer = await self.inner.complete(request)
        except BaseException as error:
            self._failed[key] += 1
            await self._written(self._book.fail(entry, error))
            raise
        self._failed.pop(key, None)
        _, interrupt = await self._written(self._book.settle(entry, answer))
        if interrupt is not None:
            raise interrupt
        return replace(answer, from_journal=False)

    async def _written(self, fn: Callable[[Transaction], T]) -> tuple[T, asyncio.CancelledError | None]:
        """What ``fn`` gave, and the interrupt that came meanwhile: one that ended the write would lose a paid answer,
        or leave a reservation behind that stands for no call.
        """
        writing = asyncio.ensure_future(self._store.awrite(fn))
        interrupt = None
        while not writing.done():
            try:
                await asyncio.wait([writing])
            except asyncio.CancelledError as error:
                interrupt = error
        return writing.result(), interrupt
