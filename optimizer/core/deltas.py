"""An answer in pieces: what a provider streams, put together again into the message that it would have sent whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ModelDelta = Mapping[str, Any]  # OpenAI's `delta` of one chunk: content, tool_calls (by index), refusal and the like

_ONCE = frozenset({"role", "id", "type"})  # sent once; all other texts come in pieces


def says_something(delta: ModelDelta) -> bool:
    """Whether a client would show or use it; the first chunk of most providers only names the role."""
    return any(value not in (None, "", [], {}) for name, value in delta.items() if name != "role")


class MessageInPieces:
    """The message so far."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, delta: ModelDelta) -> None:
        """Raises TypeError or ValueError for a delta that fits no message; providers send those too."""
        for name, value in delta.items():
            if value is None:
                continue
            if name == "tool_calls":
                for call in value:
                    _merge(self._calls.setdefault(int(call.get("index") or 0), {}), {k: v for k, v in call.items() if k != "index"})
            else:
                _merge(self._message, {name: value})

    @property
    def text(self) -> str:
        return str(self._message.get("content") or "")

    def message(self) -> dict[str, Any]:
        """As a whole answer carries it."""
        whole = {"role": "assistant", "content": None, **self._message}
        if self._calls:
            whole["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return whole


def delta_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """A whole message as one piece."""
    delta = {name: value for name, value in message.items() if value is not None and name != "role"}
    if isinstance(delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    return delta


def _merge(into: dict[str, Any], pieces: Mapping[str, Any]) -> None:
    for name, piece in pieces.items():
        before = into.get(name)
        if piece is None:
            continue
        if isinstance(piece, Mapping):
            if not isinstance(before, dict):
                before = into[name] = {}
            _merge(before, piece)
        elif isinstance(piece, str) and isinstance(before, str) and name not in _ONCE:
            into[name] = before + piece
        elif isinstance(piece, list) and isinstance(before, list):
            into[name] = [*before, *piece]
        else:
            into[name] = piece
