"""What every wrapper of a model takes over from it."""

from __future__ import annotations

from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.ports import LanguageModel


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
