"""One answer for a user who waits: of the named model, else of the fallbacks that config/models.yaml names.

The journal is never asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from optimizer.core.base.errors import DetentError, ModelFailed
from optimizer.core.models.budget import worth_a_retry
from optimizer.core.models.language import Backoff, ModelAnswer, ModelRequest
from optimizer.jobs.calls.fallback_model import FallbackModel
from optimizer.jobs.calls.retried_model import RetriedModel
from optimizer.ports import DeltaSink, LanguageModel, ModelSource


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
    model = FallbackModel(_chain(models, name) if fallbacks else (name,), partial(_open, models))
    request = request_of(model)
    answer = await (model.complete(request) if sink is None else model.stream(request, sink))
    return ModelReply(answer=answer, models=tuple(model.asked))


def pause_before_retry(error: ModelFailed, backoff: Backoff) -> bool | float:
    """Whether the same model is asked again: True after the usual pause,
    a number after so many seconds, False not at all.

    A timeout is not repeated: the user has waited that long already. A provider that asks for a longer pause than
    ``max_s`` is not waited for: the next model answers sooner.
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
    backoff = _backoff(models, name)
    return RetriedModel(model, lambda error: pause_before_retry(error, backoff), backoff, timeout_s=backoff.total_s)


def _chain(models: ModelSource, name: str) -> Sequence[str]:
    try:
        return (name, *models.describe(name).fallbacks)
    except DetentError:
        return (name,)


def _backoff(models: ModelSource, name: str) -> Backoff:
    try:
        return models.describe(name).backoff
    except DetentError:
        return Backoff()
