"""One answer for a user who waits: the named model, and after it the fallbacks that config/models.yaml names. Never the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import stamina

from optimizer.core.base.errors import NOT_ASKED, DetentError, ModelFailed
from optimizer.core.models.budget import worth_a_retry
from optimizer.core.models.language import Backoff, ModelAnswer, ModelRequest
from optimizer.ports import DeltaSink, LanguageModel, ModelSource, StreamingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``models`` are the names asked in order; the last one answered. A model that was left alone (paused, busy) is not among them."""

    answer: ModelAnswer
    models: tuple[str, ...]


def ask_model(
    models: ModelSource,
    name: str,
    request_of: Callable[[LanguageModel], ModelRequest],
    *,
    sink: DeltaSink | None = None,
    fallbacks: bool = True,
) -> Asked:
    """The first answer along the chain of fallbacks.

    Args:
        request_of: the request for a model, whose revision it carries.
        sink: takes the answer's pieces as they come. Once it has one, no other attempt is made: a user cannot be shown two answers.
        fallbacks: False asks the named model alone.
    Raises:
        ModelFailed: of the last model asked; its member ``models_asked`` names all. Where every model is paused or busy, of the
            one that is worth asking again first, with ``retry_after_s``.
    """
    asked: list[str] = []
    left_alone: list[ModelFailed] = []
    failure: ModelFailed | None = None
    for candidate in _chain(models, name) if fallbacks else (name,):
        try:
            answer = _ask(_open(models, candidate), request_of, sink, _backoff(models, candidate))
            return Asked(answer=answer, models=(*asked, candidate))
        except ModelFailed as error:
            if error.kind in NOT_ASKED:
                left_alone.append(error)
                continue
            asked.append(candidate)
            failure = error
            if sink is not None and sink.begun:
                break
    told = failure or min(left_alone, key=lambda error: float(error.members.get("retry_after_s") or 0))
    told.members = {**told.members, "models_asked": asked}
    raise told


def _ask(
    model: LanguageModel, request_of: Callable[[LanguageModel], ModelRequest], sink: DeltaSink | None, backoff: Backoff
) -> ModelAnswer:
    request = replace(request_of(model), model=model.name)
    answer: ModelAnswer | None = None
    last: ModelFailed | None = None

    def soon_again(error: Exception) -> bool | float:
        if not isinstance(error, ModelFailed) or (sink is not None and sink.begun):
            return False
        return pause_before_retry(error, backoff)

    for attempt in stamina.retry_context(
        on=soon_again,
        attempts=model.retries + 1,
        timeout=backoff.total_s,
        wait_initial=backoff.initial_s,
        wait_max=backoff.max_s,
        wait_jitter=backoff.jitter_s,
    ):
        with attempt:
            try:
                answer = _once(model, request, sink)
            except ModelFailed as error:
                if error.kind in NOT_ASKED and last is not None:
                    raise last from error  # it was paused because of failures like the one that the user should hear of
                last = error
                raise
    assert answer is not None
    return answer


def _once(model: LanguageModel, request: ModelRequest, sink: DeltaSink | None) -> ModelAnswer:
    if sink is None or not isinstance(model, StreamingModel):
        return model.complete(request)
    return model.stream(request, sink)


def pause_before_retry(error: ModelFailed, backoff: Backoff) -> bool | float:
    """Whether the same model is asked again: True after the usual pause, a number after so many seconds, False not at all.

    A timeout is not repeated: the user has waited that long already. A provider that asks for a longer pause than ``max_s`` is
    not waited for: the next model answers sooner.
    """
    if error.kind == "timeout" or not worth_a_retry(error.kind, error.members.get("status_of_model")):
        return False
    asked_for_s = error.members.get("retry_after_s")
    if asked_for_s is None:
        return True
    return float(asked_for_s) if 0 < asked_for_s <= backoff.max_s else asked_for_s == 0


def _open(models: ModelSource, name: str) -> LanguageModel:
    try:
        return models.get(name)
    except DetentError as error:  # not in the file, not installed, or without its key: the caller's request is not at fault
        why = f"Model {name!r} cannot be asked: config/models.yaml does not name it, it is not installed, or its key is missing. `detent doctor` says which."
        raise ModelFailed(why, kind="unreachable", said=error.detail, sent=False, model=name) from error


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
