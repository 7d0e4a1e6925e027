"""One answer for a user who waits: the named model, and after it the fallbacks that config/models.yaml names. Never the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import stamina

from optimizer.core.budget import worth_a_retry
from optimizer.core.errors import DetentError, ModelFailed
from optimizer.core.language import ModelAnswer, ModelRequest
from optimizer.ports import LanguageModel, ModelSource

WAIT_INITIAL_S, WAIT_MAX_S, RETRY_FOR_S = 0.2, 2.0, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``models`` are the names asked in order; the last one answered."""

    answer: ModelAnswer
    models: tuple[str, ...]


def ask_model(models: ModelSource, name: str, request_of: Callable[[LanguageModel], ModelRequest]) -> Asked:
    """The first answer along the chain of fallbacks.

    Args:
        request_of: the request for a model, whose revision it carries.
    Raises:
        ModelFailed: of the last model asked; its member ``models_asked`` names all.
    """
    asked: list[str] = []
    for candidate in _chain(models, name):
        asked.append(candidate)
        try:
            return Asked(answer=_ask(_open(models, candidate), request_of), models=tuple(asked))
        except ModelFailed as error:
            failure = error
    failure.members = {**failure.members, "models_asked": asked}
    raise failure


def _ask(model: LanguageModel, request_of: Callable[[LanguageModel], ModelRequest]) -> ModelAnswer:
    request = replace(request_of(model), model=model.name)
    answer: ModelAnswer | None = None
    for attempt in stamina.retry_context(
        on=_soon_again, attempts=model.retries + 1, timeout=RETRY_FOR_S, wait_initial=WAIT_INITIAL_S, wait_max=WAIT_MAX_S, wait_jitter=0.2
    ):
        with attempt:
            answer = model.complete(request)
    assert answer is not None
    return answer


def _soon_again(error: Exception) -> bool:
    """A timeout is not repeated: the user has waited that long already."""
    return isinstance(error, ModelFailed) and error.kind != "timeout" and worth_a_retry(error.kind, error.members.get("status_of_model"))


def _open(models: ModelSource, name: str) -> LanguageModel:
    try:
        return models.get(name)
    except DetentError as error:  # not in the file, not installed, or without its key: the caller's request is not at fault
        raise ModelFailed(error.detail, kind="unreachable", sent=False, model=name) from error


def _chain(models: ModelSource, name: str) -> Sequence[str]:
    try:
        return (name, *models.describe(name).fallbacks)
    except DetentError:
        return (name,)
