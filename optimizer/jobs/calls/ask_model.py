"""One answer for a user who waits: of the named model, else of the fallbacks in config/models.yaml.

The journal is never asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from optimizer.core.base.errors import NOT_ASKED, DetentError, ModelFailed
from optimizer.core.models.breaker import Backoff
from optimizer.core.models.budget import worth_a_retry
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.jobs.calls.retried_model import RetriedModel
from optimizer.ports import DeltaSink, LanguageModel, ModelCatalogue, ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """``models`` as ``FallbackModel.asked``."""

    answer: ModelAnswer
    models: tuple[str, ...]


async def ask_model(
    models: ModelSource,
    name: str,
    request_of: Callable[[LanguageModel], ModelRequest],
    *,
    sink: DeltaSink | None = None,
    fallbacks: bool = True,
) -> ModelReply:
    """The first answer along the chain of fallbacks, each asked again after passing faults.

    Args:
        models: as they are asked: the gateway's have their guards around them.
        request_of: the request for a model, whose name and revision it carries.
        sink: takes the answer's pieces as they come.
        fallbacks: False asks the named model alone.
    Raises:
        ModelFailed: as ``FallbackModel.stream``.
    """
    model = FallbackModel(chain_of(models, name, fallbacks=fallbacks), partial(_open, models))
    request = request_of(model)
    answer = await (model.complete(request) if sink is None else model.stream(request, sink))
    return ModelReply(answer=answer, models=tuple(model.asked))


def chain_of(models: ModelCatalogue, name: str, *, fallbacks: bool) -> Sequence[str]:
    """The models that one answer may ask, in their order."""
    if not fallbacks:
        return [name]
    try:
        return [name, *models.describe(name).fallbacks]
    except DetentError:  # asked alone, it says what is wrong with it
        return [name]


def pause_before_retry(error: ModelFailed, backoff: Backoff) -> bool | float:
    """Whether the same model is asked again: True after the usual pause, a number after so many seconds, False not at
    all.

    A timeout is not repeated, since the user has waited that long already. Where a provider asks for a pause longer
    than ``max_s``, the next model answers sooner.
    """
    if error.kind == "timeout" or not worth_a_retry(error.kind, error.members.get("status_of_model")):
        return False
    asked_for_s = error.members.get("retry_after_s")
    if asked_for_s is None:
        return True
    return float(asked_for_s) if 0 < asked_for_s <= backoff.max_s else asked_for_s == 0


def _open(models: ModelSource, name: str) -> RetriedModel:
    try:
        model = models.get(name)
    except (
        DetentError
    ) as error:  # not in the file, not installed, or without its key: the caller's request is not at fault
        why = (
            f"Model {name!r} cannot be asked: config/models.yaml does not name it, it is not installed, or its key is"
            " missing. `detent doctor` says which."
        )
        raise ModelFailed(why, kind="unreachable", said=error.detail, sent=False, model=name) from error
    try:
        backoff = models.describe(name).backoff
    except DetentError:
        backoff = Backoff()
    return RetriedModel(model, lambda error: pause_before_retry(error, backoff), backoff, timeout_s=backoff.total_s)


Open = Callable[[str], RetriedModel]  # a model by its name; raises ModelFailed where it cannot be asked


class FallbackModel:
    """A LanguageModel for one answer. Each of its models is sent the request under its own name and revision.

    ``asked`` are the names asked so far, in order; the last one answered. A model that was left alone (paused, busy) is
    not among them.
    """

    revision = ""  # that of the model that is asked
    price: ModelPrice | None = None
    retries = 0
    max_output_tokens: int | None = None
    concurrency = 1

    def __init__(self, names: Sequence[str], open_model: Open) -> None:
        self.name = names[0]
        self.asked: list[str] = []
        self._names, self._open = names, open_model

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises as ``stream`` does."""
        return await self._first(request, lambda model, own: model.complete(own), None)

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        """Once ``sink`` has a piece, no other model is asked: a user cannot be shown two answers.

        Raises:
            ModelFailed: of the last model asked; its member ``models_asked`` names all. Where every model is paused or
                busy, of the one to try again first, with ``retry_after_s``.
        """
        return await self._first(request, lambda model, own: model.stream(own, sink), sink)

    async def _first(
        self,
        request: ModelRequest,
        ask: Callable[[RetriedModel, ModelRequest], Awaitable[ModelAnswer]],
        sink: DeltaSink | None,
    ) -> ModelAnswer:
        left_alone: list[ModelFailed] = []
        failure: ModelFailed | None = None
        for name in self._names:
            try:
                model = self._open(name)
                answer = await ask(model, replace(request, model=model.name, revision=model.revision))
            except ModelFailed as error:
                if error.kind in NOT_ASKED:
                    left_alone.append(error)
                    continue
                self.asked.append(name)
                failure = error
                if sink is not None and sink.begun:
                    break
            else:
                self.asked.append(name)
                return answer
        reported = failure or min(left_alone, key=lambda error: float(error.members.get("retry_after_s") or 0))
        reported.members = {**reported.members, "models_asked": self.asked}
        raise reported
