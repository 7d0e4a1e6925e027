"""A model with those that config/models.yaml names as its fallbacks: the first that answers does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from optimizer.core.base.errors import NOT_ASKED, ModelFailed
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.jobs.calls.retried_model import RetriedModel
from optimizer.ports import DeltaSink

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
                busy, of the one that is worth asking again first, with ``retry_after_s``.
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
