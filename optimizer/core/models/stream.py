"""An answer in pieces: what a provider streams, put together again into the message that it would have sent whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ModelDelta = Mapping[str, Any]  # OpenAI's `delta` of one chunk: content, tool_calls (by index), refusal and the like

MAX_ANSWER_BYTES = 8 * 1024 * 1024  # some two million tokens: longer than any model answers
_MAX_DEPTH = 20
_ONCE = frozenset({"role", "id", "type"})  # sent once; all other texts come in pieces


def says_something(delta: ModelDelta) -> bool:
    """Whether a client would show or use it; the first chunk of most providers only names the role."""
    return any(value not in (None, "", [], {}) for name, value in delta.items() if name != "role")


class AnswerTooLong(ValueError):
    """An answer, or its pieces together, is longer than ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"an answer of more than {max_bytes:,} bytes")


class MessageInPieces:
    """The message so far; its texts are joined when they are asked for,
    so that many small pieces cost no more than their length.

    Args:
        max_bytes: what the pieces may hold together, by ``size_of``.
    """

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._room = self._max_bytes = max_bytes

    def add(self, delta: ModelDelta) -> None:
        """Raises TypeError or ValueError for a delta that fits no message,
        AnswerTooLong for one too many; providers send those too.
        """
        self._room -= size_of(delta)
        if self._room < 0:
            raise AnswerTooLong(self._max_bytes)
        for name, value in delta.items():
            if value is None:
                continue
            if name == "tool_calls":
                for call in value:
                    _merge(
                        self._calls.setdefault(int(call.get("index") or 0), {}),
                        {k: v for k, v in call.items() if k != "index"},
                    )
            else:
                _merge(self._message, {name: value})

    @property
    def text(self) -> str:
        return str(_joined(self._message.get("content")) or "")

    def message(self) -> dict[str, Any]:
        """As a whole answer carries it."""
        whole = {"role": "assistant", "content": None, **_joined(self._message)}
        if self._calls:
            whole["tool_calls"] = [_joined(self._calls[index]) for index in sorted(self._calls)]
        return whole


def delta_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """A whole message as one piece."""
    delta = {name: value for name, value in message.items() if value is not None and name != "role"}
    if isinstance(delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    return delta


def size_of(value: Any, depth: int = 0) -> int:
    """Bytes of texts and names in UTF-8, and one for every other value.

    Raises ValueError for one nested more than 20 levels deep.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return 1 + sum(size_of(str(name)) + size_of(item, depth + 1) for name, item in value.items())
    return 1 + sum(size_of(item, depth + 1) for item in value) if isinstance(value, list) else 1


class _Texts(list[str]):
    """The pieces of one text."""


def _merge(into: dict[str, Any], pieces: Mapping[str, Any]) -> None:
    for name, piece in pieces.items():
        before = into.get(name)
        if piece is None:
            continue
        if isinstance(piece, Mapping):
            if not isinstance(before, dict):
                before = into[name] = {}
            _merge(before, piece)
        elif isinstance(piece, str) and name not in _ONCE:
            if not isinstance(before, _Texts):
                before = into[name] = _Texts()
            before.append(piece)
        elif isinstance(piece, list):
            if not isinstance(before, list) or isinstance(before, _Texts):
                before = into[name] = []
            before += piece
        else:
            into[name] = piece


def _joined(value: Any) -> Any:
    if isinstance(value, _Texts):
        return "".join(value)
    return {name: _joined(item) for name, item in value.items()} if isinstance(value, dict) else value
