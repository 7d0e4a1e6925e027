"""Language models, and what is known of them without asking one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from optimizer.core.language import ModelAnswer, ModelPrice, ModelRequest


class LanguageModel(Protocol):
    """One call on the wire: no journal, no budget, no hidden retry."""

    name: str
    revision: str
    price: ModelPrice | None
    retries: int  # how often a caller may repeat a call that failed for a passing reason
    max_output_tokens: int | None  # limit of an answer where a request sets none

    @property
    def concurrency(self) -> int:
        """Calls worth having in flight at once."""

    def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises ModelFailed (kind: timeout, rate_limit, http, malformed, unreachable)."""


@runtime_checkable
class AnswersCoroutines(Protocol):
    """What a LanguageModel may offer beside ``complete`` where a call is only waited for: one thread then holds as many as wanted.

    All of a process's calls run in the same event loop, so that connections may be kept.
    """

    async def acomplete(self, request: ModelRequest) -> ModelAnswer:
        """``complete`` as a coroutine: the same request on the wire, the same answer, the same faults."""


class ModelFacts(Protocol):
    """What config/models.yaml says about one model."""

    @property
    def embedded(self) -> bool: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def processes(self) -> int | str:
        """Of the embedded model: a number, or "auto"."""

    @property
    def max_output_tokens(self) -> int | None:
        """Limit of an answer where a family sets none."""

    @property
    def fallbacks(self) -> Sequence[str]:
        """Names of the models that are asked after this one has failed."""


class ModelCatalogue(Protocol):
    """config/models.yaml as every process may read it: nothing is started and nobody is asked."""

    def describe(self, name: str) -> ModelFacts: ...
    def price(self, name: str) -> ModelPrice | None: ...


class ModelSource(ModelCatalogue, Protocol):
    """The catalogue with the models themselves, each made when first asked for."""

    def get(self, name: str) -> LanguageModel: ...
