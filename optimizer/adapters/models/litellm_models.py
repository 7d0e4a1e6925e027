"""Any model that LiteLLM knows.

Only LiteLLM's wire format and price table are used: one attempt per call, without its retries and fallbacks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from time import perf_counter
from typing import Any

import httpx

from optimizer.adapters.models.openai_wire import (
    IN_THE_LOG,
    STREAMED,
    ConfiguredModel,
    body_of,
    failure_of,
    gather,
    timed_out,
    unreachable,
)
from optimizer.core.base.errors import ModelFailed, NotFound
from optimizer.core.base.phrasing import without_passwords
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.models.settings import ModelSettings
from optimizer.ports import DeltaSink

# Otherwise it looks for its own gateway's tools, for which it imports a package that is not installed here.
ON_THE_WIRE_ALONE = {"_skip_mcp_handler": True}


class LiteLLMModel(ConfiguredModel):
    """A LanguageModel by its LiteLLM id, such as ``openai/gpt-4o-mini``.

    LiteLLM is imported with the first call (4 s, 170 MB).
    """

    def __init__(self, name: str, settings: ModelSettings, *, api_key: str | None, price: ModelPrice | None) -> None:
        super().__init__(name, settings, price)
        assert settings.litellm is not None
        self._id = settings.litellm
        self._api_base = settings.api_base
        self.revision = f"{self._id}@{without_passwords(self._api_base)}" if self._api_base else self._id
        self._api_key = api_key
        self._loaded: Any = None
        self._loading = asyncio.Lock()

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        litellm = await self._library()
        arguments = self._arguments(litellm, request)
        started = perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):  # LiteLLM's own holds between two bytes
                response = await litellm.acompletion(**arguments)
        except TimeoutError:
            raise timed_out(self.name, self._timeout_s) from None
        except Exception as error:
            raise self._failure(error) from error
        return self._answer(request, response.model_dump(), started)

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        litellm = await self._library()
        arguments = self._arguments(litellm, request)
        started = perf_counter()
        with sink.while_wanted():
            try:
                async with asyncio.timeout(self._timeout_s):
                    chunks = self._chunks(litellm, {**arguments, **STREAMED})
                    async with aclosing(chunks):
                        values = await gather(chunks, sink, model=self.name, where=self._api_base or self._id)
            except TimeoutError:
                raise timed_out(self.name, self._timeout_s) from None
        return self._answer(request, values, started)

    async def _chunks(self, litellm: Any, arguments: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any], None]:
        """LiteLLM's stream as OpenAI's chunks.

        What fails in it is a ModelFailed; its connection is closed however it ends.
        """
        stream = None
        try:
            stream = await litellm.acompletion(**arguments)
            async for chunk in stream:
                reasons = [getattr(stream, f"{who}_finish_reason", "unknown") for who in ("received", "intermittent")]
                if chunk.choices and chunk.choices[0].finish_reason and all(reason is None for reason in reasons):
                    return  # LiteLLM adds an end of its own to a stream that broke off
                yield chunk.model_dump()
        except Exception as error:
            raise self._failure(error) from error
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _library(self) -> Any:
        """The library. Its import takes seconds, in which other calls go on; one thread does it for all calls that
        come.
        """
        if self._loaded is None:
            async with self._loading:
                self._loaded = self._loaded or await asyncio.to_thread(_litellm)
        return self._loaded

    def _arguments(self, litellm: Any, request: ModelRequest) -> dict[str, Any]:
        body = body_of(request, self._id, self.max_output_tokens)
        if "logprobs" in body and "logprobs" not in (litellm.get_supported_openai_params(model=self._id) or ()):
            # LiteLLM refuses what a provider does not know; its answer then has no log-probability.
            del body["logprobs"]
        more = {
            name: value
            for name, value in (("api_base", self._api_base), ("api_key", self._api_key))
            if value is not None
        }
        return {
            **body,
            **more,
            "timeout": self._timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "caching": False,
            **ON_THE_WIRE_ALONE,
        }

    def _failure(self, error: Exception) -> ModelFailed:
        """LiteLLM's error, judged by the connection's error beneath it.

        LiteLLM calls a refused connection an error 500 of the provider.
        """
        wire = next((e for e in _causes(error) if isinstance(e, httpx.TransportError)), None)
        # aiohttp's error for a connection that broke off, which LiteLLM takes for a refused one.
        if any(type(e).__name__ == "ClientOSError" for e in _causes(error)):
            return unreachable(self.name, self._api_base or self._id, _short(error), sent=True)
        if isinstance(wire, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return unreachable(self.name, self._api_base or self._id, _short(wire), sent=False)
        if isinstance(wire, httpx.TimeoutException):
            return timed_out(self.name, self._timeout_s)
        if wire is not None:
            return unreachable(self.name, self._api_base or self._id, _short(wire), sent=True)
        status = getattr(error, "status_code", None)
        # Whether LiteLLM itself raised the 500, for instance because it cannot translate the request; no provider
        # answered.
        if str(status).isdigit() and not (
            type(error).__name__ == "APIConnectionError"
            and not any(isinstance(e, httpx.HTTPStatusError) for e in _causes(error))
        ):
            headers = getattr(error, "litellm_response_headers", None) or {}
            return failure_of(int(str(status)), _short(error), model=self.name, retry_after=headers.get("retry-after"))
        return ModelFailed(
            f"Model {self.name!r} failed inside LiteLLM. {IN_THE_LOG}",
            kind="library",
            said=_short(error),
            sent=True,
            model=self.name,
        )

    def close(self) -> None:
        """LiteLLM keeps its own connections; nothing to give back."""


def _litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it looks for the network at import
    try:
        import litellm
    except ImportError:
        raise NotFound(
            "LiteLLM is not installed here. `make serve` installs it from the lock; or use openai_compatible in"
            " models.yaml."
        ) from None
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:500].rstrip(".") or type(error).__name__
