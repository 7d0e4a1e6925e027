"""Any server that speaks OpenAI's protocol (vLLM, Ollama, llama.cpp and many more), reached directly."""

from __future__ import annotations

from time import perf_counter

from optimizer.adapters.models.connections import LoopSessions
from optimizer.adapters.models.openai_wire import ConfiguredModel, body_of, post, post_streaming
from optimizer.core.base.phrasing import without_passwords
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.models.settings import ModelSettings
from optimizer.ports import DeltaSink


class OpenAICompatible(ConfiguredModel):
    """A LanguageModel behind any address that speaks OpenAI's protocol."""

    def __init__(self, name: str, settings: ModelSettings, *, api_key: str | None, price: ModelPrice | None) -> None:
        super().__init__(name, settings, price)
        assert settings.openai_compatible is not None
        self._url = settings.openai_compatible.rstrip("/")
        self._model_id = settings.model or name
        self.revision = without_passwords(f"{self._url}#{self._model_id}")
        self._connections = LoopSessions({"Authorization": f"Bearer {api_key}"} if api_key else {})

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        body = body_of(request, self._model_id, self.max_output_tokens)
        async with self._connections.session() as session:
            started = perf_counter()
            values = await post(session, self._url, body, model=self.name, timeout_s=self._timeout_s)
        return self._answer(request, values, started)

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        body = body_of(request, self._model_id, self.max_output_tokens)
        async with self._connections.session() as session:
            started = perf_counter()
            values = await post_streaming(session, self._url, body, sink, model=self.name, timeout_s=self._timeout_s)
        return self._answer(request, values, started)

    def close(self) -> None:
        self._connections.close()
