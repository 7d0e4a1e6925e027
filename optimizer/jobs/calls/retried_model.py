"""A model that is asked again after a passing fault, as often as config/models.yaml allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import stamina

from optimizer.core.base.errors import NOT_ASKED, ModelFailed
from optimizer.core.models.breaker import Backoff
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.ports import DeltaSink, LanguageModel


class WrappedModel:
    """A LanguageModel around another, ``inner``, whose facts it has."""

    def __init__(self, inner: LanguageModel) -> None:
        self.inner = inner
        self.name, self.revision, self.price, self.retries = inner.name, inner.revision, inner.price, inner.retries
        self.max_output_tokens = inner.max_output_tokens

    @property
    def concurrency(self) -> int:
        return self.inner.concurrency

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        return await self.inner.complete(request)


# False: no other attempt; True: after the usual pause; a number: after so many seconds
Pause = Callable[[ModelFailed], bool | float]


class RetriedModel(WrappedModel):
    """``timeout_s``: after so long no further attempt begins; None: no matter how long it takes."""

    def __init__(self, inner: LanguageModel, pause: Pause, backoff: Backoff, *, timeout_s: float | None) -> None:
        super().__init__(inner)
        self._pause, self._backoff, self._timeout_s = pause, backoff, timeout_s

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        return await self._tried(lambda: self.inner.complete(request), None)

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        """A model that cannot stream answers whole. Once the sink has a piece, no other attempt is made."""
        stream = getattr(self.inner, "stream", None)
        return await (self.complete(request) if stream is None else self._tried(lambda: stream(request, sink), sink))

    async def _tried(self, ask: Callable[[], Awaitable[ModelAnswer]], sink: DeltaSink | None) -> ModelAnswer:
        last: ModelFailed | None = None
        is_paused = False

        def soon_again(error: Exception) -> bool | float:
            if is_paused or not isinstance(error, ModelFailed) or (sink is not None and sink.begun):
                return False
            return self._pause(error)

        async for attempt in stamina.retry_context(
            on=soon_again,
            attempts=self.retries + 1,
            timeout=self._timeout_s,
            wait_initial=self._backoff.initial_s,
            wait_max=self._backoff.max_s,
            wait_jitter=self._backoff.jitter_s,
        ):
            with attempt:
                try:
                    return await ask()
                except ModelFailed as error:
                    if last is not None and error.kind in NOT_ASKED:
                        # it was paused for failures such as this one, which the user should see
                        is_paused = True
                        raise last from error
                    last = error
                    raise
        raise AssertionError("the last attempt returns or raises")
