"""Language models, and what is known of them without asking one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Protocol, runtime_checkable

from optimizer.core.family.family import Teach
from optimizer.core.models.breaker import BreakerSettings
from optimizer.core.models.language import Backoff, ModelAnswer, ModelDelta, ModelPrice, ModelRequest


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


class ModelFacts(Protocol):
    """What config/models.yaml says about one model."""

    @property
    def embedded(self) -> bool: ...
    @property
    def student(self) -> bool:
        """Whether it is no model, but what a study teaches from a family's released examples."""

    @property
    def concurrency(self) -> int:
        """Calls in flight at once."""

    @property
    def queue(self) -> int:
        """Calls of clients that may wait for one of those."""

    @property
    def timeout_s(self) -> float:
        """Seconds that one attempt may take."""

    @property
    def retries(self) -> int:
        """Further attempts after a passing fault."""

    @property
    def backoff(self) -> Backoff: ...
    @property
    def breaker(self) -> BreakerSettings: ...
    @property
    def processes(self) -> int | str:
        """The embedded model's processes: a number, or "auto"."""

    @property
    def max_output_tokens(self) -> int | None:
        """Limit of an answer where a family sets none."""

    @property
    def fallbacks(self) -> Sequence[str]:
        """Names of the models that are asked after this one has failed."""

    @property
    def retires_on(self) -> date | None:
        """The day from which its provider no longer answers, where the file says so."""

    @property
    def may_teach(self) -> bool:
        """Whether a student may learn from its answers."""

    @property
    def teach(self) -> Teach:
        """What a student learns from."""


class ModelCatalogue(Protocol):
    """config/models.yaml as every process may read it: nothing is started and no model is called."""

    def describe(self, name: str) -> ModelFacts: ...
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
