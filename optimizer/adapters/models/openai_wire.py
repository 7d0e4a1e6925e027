"""OpenAI's chat completions over aiohttp: request bodies, answers, streams in pieces, and every fault as
a ModelFailed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import fsum, isnan
from time import perf_counter
from typing import Any

import aiohttp

from optimizer.adapters.models.connections import LoopSessions, proxy_of
from optimizer.core.base.errors import ModelFailed
from optimizer.core.base.phrasing import without_passwords
from optimizer.core.models.budget import request_bytes
from optimizer.core.models.language import (
    MAX_ANSWER_BYTES,
    AnswerTooLong,
    MessageInPieces,
    ModelAnswer,
    ModelPrice,
    ModelRequest,
    delta_of,
    says_something,
    size_of,
)
from optimizer.core.models.settings import ModelSettings
from optimizer.core.models.wire import wire_messages, wire_params
from optimizer.ports import DeltaSink

CONNECT_S = 5.0
MOST_TOKENS = 2**24  # of one call: more than any model reads or writes
LEAST_LOG_PROBABILITY = -50.0  # providers write -9999 or minus infinity for a token they think impossible
# The rest of a response, log-probabilities first, is longer than the answer.
MAX_BODY_BYTES = 4 * MAX_ANSWER_BYTES
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
UNFIT = (AttributeError, LookupError, TypeError, ValueError)  # what reading an answer that is none may raise
# and nowhere else: it may hold addresses, keys and the prompt
IN_THE_LOG = "What it said is kept for the operator: in the gateway's log, for a study in the journal."


def body_of(request: ModelRequest, model_id: str, max_output_tokens: int | None) -> dict[str, Any]:
    """The request as OpenAI's JSON. Only what ``core/models/wire.py`` names goes out, whatever a store or
    caller added.
    """
    params = wire_params(request.params)
    if max_output_tokens is not None:
        params.setdefault("max_tokens", max_output_tokens)
    return {"model": model_id, "messages": wire_messages(request.messages), **params}


async def post(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], *, model: str, timeout_s: float
) -> dict[str, Any]:
    """The answer's JSON. Raises ModelFailed whose members say ``status`` and whether the request was ``sent`` at all.

    ``timeout_s`` holds for the whole answer: a provider that sends a byte now and then is too slow, too.
    """
    async with open_answer(session, url, body, model=model, timeout_s=timeout_s) as response:
        return await whole(response, model=model)


@asynccontextmanager
async def open_answer(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], *, model: str, timeout_s: float
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A provider's answer of status 200, its body still to be read;
    whatever goes wrong until it is closed is a ModelFailed.
    """
    sending = session.post(
        f"{url}/chat/completions",
        data=json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(),
        headers={"Content-Type": "application/json"},
        proxy=proxy_of(url),
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(connect=min(CONNECT_S, timeout_s)),
    )
    is_open = False
    try:
        async with asyncio.timeout(timeout_s):
            async with sending as response:
                is_open = True
                if response.status != 200:
                    text = (await _read(response, model)).decode("utf-8", "replace")
                    try:
                        message = error_text(json.loads(text)["error"])
                    except (ValueError, KeyError, TypeError, RecursionError):
                        message = text
                    message = " ".join(str(message).split())[:500].rstrip(".") or (response.reason or "")
                    raise failure_of(
                        response.status, message, model=model, retry_after=response.headers.get("retry-after")
                    )
                yield response
    except NEVER_SENT as error:
        raise unreachable(model, url, str(error) or type(error).__name__, sent=False) from None
    except ValueError as error:  # a key that no header can hold, or one beside a name and password in the address
        if is_open:
            raise
        raise unreachable(model, url, str(error), sent=False) from None
    except TimeoutError:
        raise timed_out(model, timeout_s) from None
    except aiohttp.ClientError as error:
        raise unreachable(model, url, str(error) or type(error).__name__, sent=True) from None


async def _read(response: aiohttp.ClientResponse, model: str) -> bytes:
    """The body, up to MAX_BODY_BYTES."""
    pieces, n_bytes = list[bytes](), 0
    async for piece in response.content.iter_any():
        n_bytes += len(piece)
        if n_bytes > MAX_BODY_BYTES:
            raise too_long(model, f"a body of more than {MAX_BODY_BYTES:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def whole(response: aiohttp.ClientResponse, *, model: str) -> dict[str, Any]:
    """An answer that comes in one piece."""
    body = await _read(response, model)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):  # also bytes that are no UTF-8
        values = None
    if not isinstance(values, dict):
        raise malformed_answer(model, body.decode("utf-8", "replace"))
    return values


def unreachable(model: str, where: str, why: str, *, sent: bool) -> ModelFailed:
    what = "broke off the connection" if sent else "cannot be reached"
    return ModelFailed(
        f"Model {model!r} {what}. Is it running, and is its address in config/models.yaml right? {IN_THE_LOG}",
        kind="unreachable",
        said=f"{where}: {why}",
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
        return ModelFailed(
            f"Model {model!r} takes no more requests for now (429). {IN_THE_LOG}",
            kind="rate_limit",
            said=message,
            **more,
        )
    if status in (408, 504):
        return ModelFailed(
            f"Model {model!r} gave no answer in time ({status}). {IN_THE_LOG}", kind="timeout", said=message, **more
        )
    advice = " Check its key (api_key_env in config/models.yaml)." if status in (401, 403) else ""
    return ModelFailed(
        f"Model {model!r} refused the request ({status}).{advice} {IN_THE_LOG}", kind="http", said=message, **more
    )


def read_answer(
    values: Mapping[str, Any], *, model: str, request: ModelRequest, price: ModelPrice | None, latency_ms: float
) -> ModelAnswer:
    """The provider's answer as a value.

    Missing token counts are taken at their upper bound, so that no cap is passed unseen.
    """
    try:
        choice = values["choices"][0]
        message = dict(choice["message"])
        text = message.get("content") or ""
        if not isinstance(text, str):
            raise TypeError("content is no text")
        if size_of(message) > MAX_ANSWER_BYTES:
            raise AnswerTooLong(MAX_ANSWER_BYTES)
    except UNFIT as error:
        raise no_answer(model, error) from None
    input_tokens = _count(values.get("usage"), "prompt_tokens")
    if input_tokens is None:
        input_tokens = request_bytes(request.messages, request.params)
    output_tokens = _count(values.get("usage"), "completion_tokens")
    if output_tokens is None:
        # Tool calls and reasoning are output, too.
        written = [value for name, value in message.items() if name != "role" and value is not None]
        output_tokens = max(size_of(written) - 1, int(request.params.get("max_tokens") or 0))
    mean, lowest = _log_probabilities(choice)
    return ModelAnswer(
        text=text,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        # without a price nothing: which is why a dollar cap refuses such a model
        cost_usd=0.0 if price is None else price.of(input_tokens, output_tokens),
        is_priced=price is not None,
        latency_ms=latency_ms,
        finish_reason=choice.get("finish_reason") or "stop",
        raw_message=message,
        log_probability=mean,
        log_probability_min=lowest,
    )


def _count(usage: Any, name: str) -> int | None:
    """A provider's token count; None for anything else: a negative count would lower the spend, and one that is too
    large fits no record.
    """
    n = usage.get(name) if isinstance(usage, Mapping) else None
    return int(n) if isinstance(n, int | float) and 0 <= n < MOST_TOKENS else None


def _log_probabilities(choice: Mapping[str, Any]) -> tuple[float, float] | tuple[None, None]:
    """(mean, lowest) of the answer's tokens; None where the provider gives none, or something else."""
    logprobs = choice.get("logprobs")
    try:
        tokens = logprobs.get("content") or () if isinstance(logprobs, Mapping) else ()
        values = [float(token["logprob"]) for token in tokens]
    except (KeyError, TypeError, ValueError):
        return None, None
    if not values or any(map(isnan, values)):
        return None, None
    clipped = [min(0.0, max(value, LEAST_LOG_PROBABILITY)) for value in values]
    return fsum(clipped) / len(clipped), min(clipped)


class ConfiguredModel:
    """What config/models.yaml says of a model at a provider, and how its answers are read."""

    def __init__(self, name: str, settings: ModelSettings, price: ModelPrice | None) -> None:
        self.name, self.price = name, price
        self.retries, self.concurrency = settings.retries, settings.concurrency
        self.max_output_tokens = settings.max_output_tokens
        self._timeout_s = settings.timeout_s

    def _answer(self, request: ModelRequest, values: Mapping[str, Any], started: float) -> ModelAnswer:
        latency_ms = (perf_counter() - started) * 1000
        return read_answer(values, model=self.name, request=request, price=self.price, latency_ms=latency_ms)


def error_text(error: Any) -> str:
    """What OpenAI's `error` object says, or the text that some providers send in its place."""
    return str(error["message"] if isinstance(error, dict) else error)


def malformed_answer(model: str, what: str) -> ModelFailed:
    return ModelFailed(
        f"Model {model!r} answered something that is no chat completion. "
        f"Check that its address ends where /chat/completions follows (often /v1). {IN_THE_LOG}",
        kind="malformed",
        said=" ".join(what.split())[:200],
        sent=True,
        model=model,
    )


def no_answer(model: str, error: Exception) -> ModelFailed:
    """One of UNFIT as what it says of the model."""
    return (
        too_long(model, str(error))
        if isinstance(error, AnswerTooLong)
        else malformed_answer(model, f"{type(error).__name__}: {error}")
    )


def too_long(model: str, what: str) -> ModelFailed:
    return ModelFailed(
        f"Model {model!r} gave {what}, the most that is taken, so the call was ended. Bound its answers with"
        " max_tokens.",
        kind="malformed",
        sent=True,
        model=model,
    )


STREAMED: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
MAX_LINE_BYTES = 8 * 1024 * 1024

Look = Callable[[Mapping[str, Any]], None]  # sees each chunk before it is passed on; an error ends the call


async def post_streaming(
    session: aiohttp.ClientSession,
    url: str,
    body: Mapping[str, Any],
    sink: DeltaSink,
    *,
    model: str,
    timeout_s: float,
    look: Look = lambda chunk: None,
) -> dict[str, Any]:
    """The answer's JSON as an unstreamed call would have brought it, after each piece of it went to ``sink``.

    A server that does not know streaming answers whole, which is then the one piece.
    ``timeout_s`` holds for the whole answer.

    Raises:
        ModelFailed: as an unstreamed call; ``unreachable`` also for a stream that ends before the answer does.
    """
    with sink.while_wanted():
        async with open_answer(session, url, {**body, **STREAMED}, model=model, timeout_s=timeout_s) as response:
            if "text/event-stream" not in response.headers.get("content-type", ""):
                values = await whole(response, model=model)
                try:
                    delta = delta_of(values["choices"][0]["message"])
                    MessageInPieces().add(delta)
                except UNFIT as error:
                    raise no_answer(model, error) from None
                if says_something(delta):
                    await sink.put(delta)
                return values
            return await gather(_chunks(response, model), sink, model=model, where=url, look=look)


async def gather(
    chunks: AsyncIterable[Mapping[str, Any]],
    sink: DeltaSink,
    *,
    model: str,
    where: str,
    look: Look = lambda chunk: None,
) -> dict[str, Any]:
    """Passes chunks on and returns the whole answer. Raises ModelFailed for one that never ended, or is too long."""
    message = MessageInPieces()
    finish_reason, more = None, {}
    async for chunk in chunks:
        if chunk.get("error"):
            # It came as an event of the stream, after the status 200.
            error = chunk["error"]
            code = (error.get("code") or error.get("status")) if isinstance(error, Mapping) else None
            try:
                text = error_text(error)
            except KeyError:
                text = str(error)
            status = int(str(code)) if str(code).isdigit() and 400 <= int(str(code)) < 600 else 500
            raise failure_of(status, " ".join(text.split())[:500].rstrip("."), model=model)
        look(chunk)
        more.update({name: chunk[name] for name in ("usage", "timings") if chunk.get(name)})
        try:
            choice = chunk["choices"][0] if chunk.get("choices") else {}
            delta = {name: value for name, value in (choice.get("delta") or {}).items() if value is not None}
            message.add(delta)
            finish_reason = choice.get("finish_reason") or finish_reason
        except UNFIT as error:
            raise no_answer(model, error) from None
        if says_something(delta):
            await sink.put(delta)
    if finish_reason is None:
        raise unreachable(model, where, "its stream ended before the answer did", sent=True)
    return {"choices": [{"index": 0, "message": message.message(), "finish_reason": finish_reason}], **more}


async def _chunks(response: aiohttp.ClientResponse, model: str) -> AsyncIterator[Mapping[str, Any]]:
    async for line in _lines(response, model):
        if not line.startswith(b"data:"):
            continue  # comments that keep a connection alive, names of events
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise malformed_answer(model, data.decode("utf-8", "replace"))
        yield chunk


async def _lines(response: aiohttp.ClientResponse, model: str) -> AsyncIterator[bytes]:
    rest: list[bytes] = []  # pieces of the last line, joined once it is whole
    n_rest = 0
    async for piece in response.content.iter_any():
        first, *lines = piece.split(b"\n")
        rest.append(first)
        n_rest += len(first)
        if lines:
            yield b"".join(rest).rstrip(b"\r")
            for line in lines[:-1]:
                yield line.rstrip(b"\r")
            rest, n_rest = [lines[-1]], len(lines[-1])
        if n_rest > MAX_LINE_BYTES:
            raise malformed_answer(model, "a line without an end")
    yield b"".join(rest)


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
