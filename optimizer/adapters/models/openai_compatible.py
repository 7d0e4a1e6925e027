"""Any server that speaks OpenAI's protocol (vLLM, Ollama, llama.cpp and many more), reached directly."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from optimizer.adapters.models.connections import LoopSessions
from optimizer.adapters.models.model_settings import ModelSettings
from optimizer.adapters.models.openai_wire import body_of, post, post_streaming, read_answer
from optimizer.core.base.phrasing import without_passwords
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.ports import DeltaSink


class OpenAICompatible:
    """A LanguageModel behind any address that speaks OpenAI's protocol."""

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        *,
        api_key: str | None,
        price: ModelPrice | None,
    ) -> None:
        assert settings.openai_compatible is not None
        self.name = name
        self.price = price
        self.retries = settings.retries
        self.concurrency = settings.concurrency
        self.max_output_tokens = settings.max_output_tokens
        self._url = settings.openai_compatible.rstrip("/")
        self._model_id = settings.model or name
        self.revision = without_passwords(f"{self._url}#{self._model_id}")
        self._timeout_s = settings.timeout_s
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

    def _answer(self, request: ModelRequest, values: Mapping[str, Any], started: float) -> ModelAnswer:
        latency_ms = (perf_counter() - started) * 1000
        return read_answer(values, model=self.name, request=request, price=self.price, latency_ms=latency_ms)

    def close(self) -> None:
        self._connections.close()
