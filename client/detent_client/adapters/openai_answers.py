"""Answers in OpenAI's two forms, whole or in pieces. By their attributes alone: other packages have the same."""

from __future__ import annotations

import json
from typing import Any

from detent_client.adapters.recording import Completion

CLOSED = "client_gone: the stream was closed before its end"
CUT = "incomplete: the stream ended before the answer did"


def chat_answer(completion: Any) -> Completion:
    """Of a chat completion."""
    choices = getattr(completion, "choices", None)
    message = choices[0].message if choices else None
    calls = [(call.function.name, call.function.arguments) for call in _functions(message)]
    text = getattr(message, "content", None) or getattr(message, "refusal", None) or calls_text(calls)
    return _chat_answer(completion, text)


def response_answer(response: Any) -> Completion:
    """Of the responses API."""
    calls = [(item.name, item.arguments) for item in response.output or () if item.type == "function_call"]
    usage, status = getattr(response, "usage", None), getattr(response, "status", None)
    error = getattr(response, "error", None)
    return Completion(
        text=response.output_text or calls_text(calls),
        model=response.model,
        input_tokens=getattr(usage, "input_tokens", None),
        output_tokens=getattr(usage, "output_tokens", None),
        error=f"{status}: {getattr(error, 'code', None)}" if status in ("failed", "cancelled") else None,
    )


class ChatChunks:
    """A chat completion as it comes. ``hides_usage``: the chunk that has nothing but usage is not passed on, since the
    caller did not ask for it.
    """

    def __init__(self, *, hides_usage: bool) -> None:
        self._hides_usage = hides_usage
        self._texts: list[str] = []
        self._calls: dict[int, tuple[str, str]] = {}
        self._last: Any = None
        self._usage: Any = None
        self._is_whole = False

    @property
    def has_begun(self) -> bool:
        return bool(self._texts or self._calls)

    def add(self, chunk: Any) -> bool:
        """False where it is not passed on."""
        self._last = chunk
        self._usage = getattr(chunk, "usage", None) or self._usage
        for choice in chunk.choices:
            if getattr(choice, "index", 0):
                continue  # of several answers the first is recorded
            if text := getattr(choice.delta, "content", None) or getattr(choice.delta, "refusal", None):
                self._texts.append(text)
            for call in _functions(choice.delta):
                name, arguments = self._calls.get(call.index, ("", ""))
                self._calls[call.index] = (call.function.name or name, arguments + (call.function.arguments or ""))
            self._is_whole = self._is_whole or choice.finish_reason is not None
        return bool(chunk.choices) or self._usage is None or not self._hides_usage

    def answer(self, *, is_closed: bool) -> Completion:
        """What has come. ``is_closed``: by the caller."""
        text = "".join(self._texts) or calls_text(list(self._calls.values()))
        error = None if self._is_whole else CLOSED if is_closed else CUT
        return _chat_answer(self._last, text, usage=self._usage, error=error)


class ResponseEvents:
    """A response as it comes."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._model: str | None = None
        self._last: Any = None
        self._error: str | None = None
        self.has_begun = False

    def add(self, event: Any) -> bool:
        if event.type == "response.output_text.delta":
            self._texts.append(event.delta)
        self.has_begun = self.has_begun or event.type.endswith(".delta")
        if event.type == "error":
            self._error = f"failed: {event.code}"
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            self._last = event.response
        elif event.type == "response.created":
            self._model = event.response.model
        return True

    def answer(self, *, is_closed: bool) -> Completion:
        if self._last is not None:
            return response_answer(self._last)
        error = self._error or (CLOSED if is_closed else CUT)
        return Completion(text="".join(self._texts) or None, model=self._model, error=error)


def _chat_answer(completion: Any, text: str | None, *, usage: Any = None, error: str | None = None) -> Completion:
    usage = usage or getattr(completion, "usage", None)
    return Completion(
        text=text,
        model=getattr(completion, "model", None),
        input_tokens=getattr(usage, "prompt_tokens", None),
        output_tokens=getattr(usage, "completion_tokens", None),
        error=error,
    )


def _functions(message: Any) -> list[Any]:
    return [call for call in getattr(message, "tool_calls", None) or () if getattr(call, "function", None)]


def calls_text(calls: list[tuple[str, str]]) -> str | None:
    """An answer that asks for tools and says nothing."""
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls]) if calls else None
