"""A model under a study's caps: each attempt is reserved and journaled in one transaction, then sent, then settled."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from optimizer.core.base.values import Budget
from optimizer.core.models.budget import output_limit, require_bounded, reservation_usd
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.call_book import CallBook, found_or_allowed
from optimizer.jobs.calls.wrapped_model import WrappedModel
from optimizer.ports import LanguageModel, Store


class BudgetedModel(WrappedModel):
    """Nothing is sent that could pass a cap, and what was sent counts at the highest price until its own is known.

    The budget is asked in the very transaction that journals the call, so that no two calls see the same rest.
    """

    def __init__(self, inner: LanguageModel, book: CallBook, store: Store, budget: Budget) -> None:
        super().__init__(inner)
        self._book, self._store, self._budget = book, store, budget
        self._failed: Counter[str] = Counter()  # attempts in a row by request key

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises BudgetExhausted (nothing was sent), and what the model raises, once that is journaled."""
        key = request.key
        max_tokens = output_limit(request.params, self.max_output_tokens)
        require_bounded(self.name, self.price, max_tokens, self._budget)
        reserve_usd = reservation_usd(request, self.price, max_tokens)
        entry = self._book.entry(request, key, self._failed[key] + 1, reserve_usd)
        found = found_or_allowed(await self._store.awrite(self._book.reserve(entry)))
        if found is not None:
            return found
        try:
            answer = await self.inner.complete(request)
        except BaseException as error:
            self._failed[key] += 1
            await self._store.awrite(self._book.fail(entry, error))
            raise
        self._failed.pop(key, None)
        await self._store.awrite(self._book.settle(entry, answer))
        return replace(answer, from_journal=False)
