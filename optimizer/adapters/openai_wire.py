"""OpenAI's chat completions over httpx: the request's body, the answer's reading, and every fault as a ModelFailed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import httpx

from optimizer.adapters.lanes import Lanes
from optimizer.core.budget import TOKENS_PER_MESSAGE, prompt_bytes
from optimizer.core.errors import ModelFailed
from optimizer.core.language import ModelAnswer, ModelPrice, ModelRequest

CONNECT_S = 5.0


def body_of(request: ModelRequest, model_id: str, max_output_tokens: int | None) -> dict[str, Any]:
    """The request as OpenAI's JSON; parameters that are None are left out."""
    params = {name: value for name, value in request.params.items() if value is not None}
    if max_output_tokens is not None:
        params.setdefault("max_tokens", max_output_tokens)
    return {"model": model_id, "messages": [dict(message) for message in request.messages], **params}


def post(client: httpx.Client, url: str, body: Mapping[str, Any], *, model: str, timeout_s: float) -> dict[str, Any]:
    """The answer's JSON. Raises ModelFailed whose members say ``status`` and whether the request was ``sent`` at all."""
    with _as_model_failed(model, url, timeout_s):
        response = client.post(f"{url}/chat/completions", json=body, timeout=_timeout(timeout_s))
    return _read(response, model)


async def apost(client: httpx.AsyncClient, url: str, body: Mapping[str, Any], *, model: str, timeout_s: float) -> dict[str, Any]:
    """``post`` as a coroutine."""
    with _as_model_failed(model, url, timeout_s):
        response = await client.post(f"{url}/chat/completions", json=body, timeout=_timeout(timeout_s))
    return _read(response, model)


def _timeout(timeout_s: float) -> httpx.Timeout:
    return httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))


@contextmanager
def _as_model_failed(model: str, url: str, timeout_s: float) -> Iterator[None]:
    """Faults of the wire, by what they say of whether the request was sent."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise unreachable(model, url, str(error) or type(error).__name__, sent=False) from None
    except httpx.TimeoutException:
        raise timed_out(model, timeout_s) from None
    except httpx.HTTPError as error:
        raise unreachable(model, url, str(error) or type(error).__name__, sent=True) from None


def _read(response: httpx.Response, model: str) -> dict[str, Any]:
    if response.status_code != 200:
        raise failure_of(response.status_code, _message(response), model=model, retry_after=response.headers.get("retry-after"))
    try:
        values = response.json()
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise _malformed(model, response.text)
    return values


def unreachable(model: str, where: str, why: str, *, sent: bool) -> ModelFailed:
    what = "broke off the connection" if sent else "cannot be reached"
    return ModelFailed(
        f"Model {model!r} {what} ({where}): {why.rstrip('.')}. Is it running, and is its address in config/models.yaml right?",
        kind="unreachable",
        sent=sent,
        model=model,
    )


def timed_out(model: str, timeout_s: float) -> ModelFailed:
    return ModelFailed(
        f"Model {model!r} gave no answer within {timeout_s:g} s. Try again, or raise timeout_s in config/models.yaml.",
        kind="timeout",
        sent=True,
        model=model,
    )


def failure_of(status: int, message: str, *, model: str, retry_after: str | None = None) -> ModelFailed:
    """An HTTP error of a provider as ModelFailed: rate_limit for 429, timeout for 408 and 504, else http."""
    more: dict[str, Any] = {"status_of_model": status, "sent": True, "model": model}
    if status == 429:
        if retry_after is not None and retry_after.isdigit():
            more["retry_after_s"] = int(retry_after)
        return ModelFailed(f"Model {model!r} takes no more requests for now (429): {message}", kind="rate_limit", **more)
    if status in (408, 504):
        return ModelFailed(f"Model {model!r} gave no answer in time ({status}): {message}", kind="timeout", **more)
    advice = "Check its key (api_key_env in config/models.yaml)." if status in (401, 403) else "The message is the provider's own."
    return ModelFailed(f"Model {model!r} refused the request ({status}): {message}. {advice}", kind="http", **more)


def read_answer(
    values: Mapping[str, Any], *, model: str, request: ModelRequest, price: ModelPrice | None, latency_ms: float
) -> ModelAnswer:
    """The provider's answer as a value. Missing token counts are taken at their upper bound, so that no cap is passed unseen."""
    try:
        choice = values["choices"][0]
        message = dict(choice["message"])
        text = message.get("content") or ""
        if not isinstance(text, str):
            raise TypeError("content is no text")
    except (KeyError, IndexError, TypeError) as error:
        raise _malformed(model, f"{type(error).__name__}: {error}") from None
    usage = values.get("usage") or {}
    input_tokens = usage.get("prompt_tokens")
    if input_tokens is None:
        input_tokens = prompt_bytes(request.messages, request.params) + TOKENS_PER_MESSAGE * len(request.messages)
    output_tokens = usage.get("completion_tokens")
    if output_tokens is None:
        output_tokens = max(len(text.encode("utf-8", "surrogatepass")), int(request.params.get("max_tokens") or 0))
    return ModelAnswer(
        text=text,
        input_tokens=int(input_tokens),
        output_tokens=int(output_tokens),
        cost_usd=cost_of(int(input_tokens), int(output_tokens), price),
        latency_ms=latency_ms,
        finish_reason=choice.get("finish_reason") or "stop",
        raw_message=message,
    )


def cost_of(input_tokens: int, output_tokens: int, price: ModelPrice | None) -> float:
    """Dollars; 0.0 where no price is known, which is why a dollar cap refuses such a model."""
    return 0.0 if price is None else price.of(input_tokens, output_tokens)


class OpenAICompatible:
    """A LanguageModel behind any address that speaks OpenAI's protocol."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        model_id: str,
        api_key: str | None,
        price: ModelPrice | None,
        timeout_s: float,
        retries: int,
        concurrency: int,
        max_output_tokens: int | None,
    ) -> None:
        self.name = name
        self.revision = f"{base_url.rstrip('/')}#{model_id}"
        self.price = price
        self.retries = retries
        self.concurrency = concurrency
        self.max_output_tokens = max_output_tokens
        self._url = base_url.rstrip("/")
        self._model_id = model_id
        self._timeout_s = timeout_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers, limits=httpx.Limits(max_connections=max(4, concurrency)))
        self._lanes = Lanes(headers)

    def complete(self, request: ModelRequest) -> ModelAnswer:
        body = body_of(request, self._model_id, self.max_output_tokens)
        started = perf_counter()
        values = post(self._client, self._url, body, model=self.name, timeout_s=self._timeout_s)
        return read_answer(values, model=self.name, request=request, price=self.price, latency_ms=(perf_counter() - started) * 1000)

    async def acomplete(self, request: ModelRequest) -> ModelAnswer:
        body = body_of(request, self._model_id, self.max_output_tokens)
        async with self._lanes.one() as client:
            started = perf_counter()
            values = await apost(client, self._url, body, model=self.name, timeout_s=self._timeout_s)
        return read_answer(values, model=self.name, request=request, price=self.price, latency_ms=(perf_counter() - started) * 1000)

    def close(self) -> None:
        self._client.close()
        self._lanes.close()


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        message = response.text
    return " ".join(str(message).split())[:500].rstrip(".") or response.reason_phrase


def _malformed(model: str, what: str) -> ModelFailed:
    return ModelFailed(
        f"Model {model!r} answered something that is no chat completion: {' '.join(what.split())[:200]!r}. "
        "Check that its address ends where /chat/completions follows (often /v1).",
        kind="malformed",
        sent=True,
        model=model,
    )
