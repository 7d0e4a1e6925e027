"""OpenAI's streamed chat completions over aiohttp: pieces handed on as they come, and the whole answer at the end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp

from optimizer.adapters.models.openai_wire import (
    UNFIT,
    error_text,
    failure_of,
    malformed,
    no_answer,
    opened,
    unreachable,
    whole,
)
from optimizer.core.models.stream import MessageInPieces, delta_of, says_something
from optimizer.ports import DeltaSink

STREAMED: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
MAX_LINE_BYTES = 8 * 1024 * 1024

Look = Callable[[Mapping[str, Any]], None]  # at each chunk before it is handed on; what it raises ends the call


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
        async with opened(session, url, {**body, **STREAMED}, model=model, timeout_s=timeout_s) as response:
            if "text/event-stream" not in response.headers.get("content-type", ""):
                values = await whole(response, model=model)
                await put_whole(values, sink, model=model)
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
    """Hands on what chunks bring and returns the whole answer;
    raises ModelFailed for one that never came to its end, or is too long.
    """
    message = MessageInPieces()
    finish_reason, more = None, {}
    async for chunk in chunks:
        if chunk.get("error"):
            raise _reported_error(chunk["error"], model)
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


async def put_whole(values: Mapping[str, Any], sink: DeltaSink, *, model: str) -> None:
    try:
        delta = delta_of(values["choices"][0]["message"])
        MessageInPieces().add(delta)
    except UNFIT as error:
        raise no_answer(model, error) from None
    if says_something(delta):
        await sink.put(delta)


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
            raise malformed(model, data.decode("utf-8", "replace"))
        yield chunk


async def _lines(response: aiohttp.ClientResponse, model: str) -> AsyncIterator[bytes]:
    rest: list[bytes] = []  # of the last line: joined once, when its end has come
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
            raise malformed(model, "a line without an end")
    yield b"".join(rest)


def _reported_error(error: Any, model: str) -> Exception:
    """An error that came as an event of the stream, after the status 200."""
    code = (error.get("code") or error.get("status")) if isinstance(error, Mapping) else None
    try:
        text = error_text(error)
    except KeyError:
        text = str(error)
    status = int(str(code)) if str(code).isdigit() and 400 <= int(str(code)) < 600 else 500
    return failure_of(status, " ".join(text.split())[:500].rstrip("."), model=model)
