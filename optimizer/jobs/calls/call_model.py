"""A study's way to a model: found in the journal, else reserved under the caps, sent and settled.

Nothing is asked twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace

from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.budget import require_bounded, worth_a_retry
from optimizer.core.models.language import Backoff, ModelAnswer, ModelRequest
from optimizer.jobs.calls.budgeted_model import BudgetedModel
from optimizer.jobs.calls.call_book import Account, CallBook
from optimizer.jobs.calls.call_slots import wait_checking
from optimizer.jobs.calls.limited_model import LimitedModel
from optimizer.jobs.calls.retried_model import RetriedModel
from optimizer.jobs.calls.wrapped_model import WrappedModel
from optimizer.ports import Clock, LanguageModel, Store

BACKOFF = Backoff(initial_s=0.5, max_s=10.0, jitter_s=0.5)


class JournaledModel(WrappedModel):
    """A LanguageModel behind journal, budget and stop flag.

    The journal answers, else the wrappers that are put around ``model`` here. Equal requests at once share one call.

    Args:
        stop: asked before every attempt; a sentence means stop.
        concurrency: attempts in flight at once; None: what the model is good for, for all studies of the process.
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
        concurrency: int | None = None,
        users_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        if model.price is None:
            require_bounded(model.name, None, None, account.budget)
        self._book = CallBook(store, clock, account, price=model.price)
        budgeted = BudgetedModel(model, self._book, store, account.budget)
        self._limited = LimitedModel(budgeted, stop=stop, users_wait=users_wait, concurrency=concurrency)
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
                    raise  # this call was interrupted, not the one it waits for
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
