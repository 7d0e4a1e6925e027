"""A model whose answers a test waits for in its own thread, as a search does."""

from __future__ import annotations

from typing import Any

from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.blocking import wait_for
from optimizer.ports import DeltaSink


class Waited:
    """Everything else is the model's own."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def complete(self, request: ModelRequest) -> ModelAnswer:
        return wait_for(self._model.complete(request))

    def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        return wait_for(self._model.stream(request, sink))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
