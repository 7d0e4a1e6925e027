"""A model that is asked so often at once, not while a user waits, and not after a stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from optimizer.core.base.errors import StudyStopped
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.call_slots import Slots, slots_of
from optimizer.jobs.calls.wrapped_model import WrappedModel
from optimizer.ports import LanguageModel

STAND_BACK_S = 0.1  # between two looks whether users still wait


class LimitedModel(WrappedModel):
    """Every call of ``complete`` takes a place.

    Args:
        stop: asked before each call and while it waits; a sentence means stop.
        users_wait: whether a user's call is under way; no call begins before it says no.
        concurrency: calls in flight at once; None: what the model is good for, for all studies of the process together.
    """

    def __init__(
        self,
        inner: LanguageModel,
        *,
        stop: Callable[[], str | None],
        users_wait: Callable[[], bool],
        concurrency: int | None = None,
    ) -> None:
        super().__init__(inner)
        self._stop, self._users_wait = stop, users_wait
        self._concurrency = None if concurrency == inner.concurrency else concurrency
        self._slots = (
            slots_of(_innermost(inner), inner.concurrency) if self._concurrency is None else Slots(self._concurrency)
        )

    @property
    def concurrency(self) -> int:
        return self._concurrency or self.inner.concurrency

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
            async with self._slots.taken(self.check_stop):
                self.check_stop()
                if not self._users_wait():
                    yield
                    return
            await asyncio.sleep(STAND_BACK_S)


def _innermost(model: LanguageModel) -> LanguageModel:
    while isinstance(model, WrappedModel):
        model = model.inner
    return model
