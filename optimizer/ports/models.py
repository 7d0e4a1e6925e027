"""Language models, and what is known of them without asking one."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from optimizer.core.models.language import ModelAnswer, ModelDelta, ModelPrice, ModelRequest
from optimizer.core.models.settings import ModelSettings


class LanguageModel(Protocol):
    """A model that can be asked: one on the wire, without journal, budget or hidden retry, or a wrapper of another.

    All of a process's calls run in the same event loop, so that connections and places are kept: the gateway's own,
    elsewhere that of ``jobs/calls/blocking.py``.
    """

    name: str
    revision: str
    price: ModelPrice | None
    retries: int  # how often a caller may repeat a call that failed for a passing reason
    max_output_tokens: int | None  # limit of an answer where a request sets none

    @property
    def concurrency(self) -> int:
        """Calls worth having in flight at once."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises ModelFailed (kind: timeout, rate_limit, http, malformed, library, unreachable)."""


class DeltaSink(Protocol):
    """Takes an answer's pieces as they come. What it raises passes through the model and ends the call."""

    @property
    def begun(self) -> bool:
        """Whether a piece was taken: from then on no other model may answer."""

    async def put(self, delta: ModelDelta) -> None: ...
    def while_wanted(self) -> AbstractContextManager[None]:
        """The task inside is cancelled as soon as its reader has gone; however it then ends counts as that."""


@runtime_checkable
class StreamingModel(LanguageModel, Protocol):
    """A model that can hand on its answer in pieces."""

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        """As ``complete``, and each piece goes to ``sink`` first."""


class ModelCatalogue(Protocol):
    """config/models.yaml as every process may read it: nothing is started and no model is called."""

    def describe(self, name: str) -> ModelSettings: ...
    def price(self, name: str) -> ModelPrice | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModels:
    """Which models would answer from now on.

    ``catalogue``: None where config/models.yaml cannot be read; ``loaded``: names of those that the running gateway
    knows, None where none runs.
    """

    catalogue: ModelCatalogue | None = None
    loaded: Collection[str] | None = None


class ModelSource(ModelCatalogue, Protocol):
    """The catalogue with the models themselves, each made at its first use."""

    def get(self, name: str) -> LanguageModel: ...
