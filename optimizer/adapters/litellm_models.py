"""Any model that LiteLLM knows. It is wire format and price table only: one attempt per call, no retry, no fallback of its own."""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

from optimizer.adapters.openai_wire import body_of, failure_of, read_answer
from optimizer.core.errors import ModelFailed, NotFound
from optimizer.core.language import ModelAnswer, ModelPrice, ModelRequest


class LiteLLMModel:
    """A LanguageModel by its LiteLLM id, such as ``openai/gpt-4o-mini``. LiteLLM is imported with the first call (4 s, 170 MB)."""

    def __init__(
        self,
        name: str,
        *,
        litellm_id: str,
        api_base: str | None,
        api_key: str | None,
        price: ModelPrice | None,
        timeout_s: float,
        retries: int,
        concurrency: int,
        max_output_tokens: int | None,
    ) -> None:
        self.name = name
        self.revision = f"{litellm_id}@{api_base}" if api_base else litellm_id
        self.price = price
        self.retries = retries
        self.concurrency = concurrency
        self.max_output_tokens = max_output_tokens
        self._id = litellm_id
        self._api_base = api_base
        self._api_key = api_key
        self._timeout_s = timeout_s

    def complete(self, request: ModelRequest) -> ModelAnswer:
        litellm = _litellm()
        body = body_of(request, self._id, self.max_output_tokens)
        more = {name: value for name, value in (("api_base", self._api_base), ("api_key", self._api_key)) if value is not None}
        started = perf_counter()
        try:
            response = litellm.completion(**body, **more, timeout=self._timeout_s, num_retries=0, max_retries=0, caching=False)
        except litellm.exceptions.APIConnectionError as error:
            raise ModelFailed(
                f"Model {self.name!r} cannot be reached: {_short(error)}. Check the network and api_base in config/models.yaml.",
                kind="unreachable",
                sent=True,  # LiteLLM does not tell a refused connection from one that broke off
                model=self.name,
            ) from None
        except litellm.exceptions.Timeout:
            raise ModelFailed(
                f"Model {self.name!r} gave no answer within {self._timeout_s:g} s. Try again, or raise timeout_s in config/models.yaml.",
                kind="timeout",
                sent=True,
                model=self.name,
            ) from None
        except Exception as error:
            status = getattr(error, "status_code", None)
            if isinstance(status, int | str) and str(status).isdigit():
                headers = getattr(getattr(error, "response", None), "headers", None) or {}
                raise failure_of(int(status), _short(error), model=self.name, retry_after=headers.get("retry-after")) from None
            raise ModelFailed(
                f"Model {self.name!r} failed inside LiteLLM: {_short(error)}.", kind="malformed", sent=True, model=self.name
            ) from error
        latency_ms = (perf_counter() - started) * 1000
        return read_answer(response.model_dump(), model=self.name, request=request, price=self.price, latency_ms=latency_ms)

    def close(self) -> None:
        """LiteLLM keeps its own connections; nothing to give back."""


def _litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it looks for the network at import
    try:
        import litellm
    except ImportError:
        raise NotFound(
            "LiteLLM is not installed here. `make serve` installs it from the lock; or use openai_compatible in models.yaml."
        ) from None
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:500].rstrip(".")
