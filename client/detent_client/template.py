"""Open messages filled in, byte for byte as the server does (optimizer/core/family/rendering.py there). The golden
files under tests/golden hold for both.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detent_client.errors import InvalidInput

Message = dict[str, Any]
Variables = Mapping[str, Any]
History = Sequence[Mapping[str, Any]]  # earlier turns of a conversation

VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
# What a turn may have instead of a content.
NO_CONTENT = ("tool_calls", "function_call", "refusal", "reasoning_content", "thinking_blocks")
MAX_CHARS = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rendering:
    """``truncated``: names of the inputs that were cut."""

    messages: list[Message]
    truncated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextLimit:
    """Of one input."""

    max_chars: int
    is_refused: bool  # a longer text; else it is cut


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """``pieces``: texts and names of variables in turn; ``members`` hold the content's place among the others."""

    members: Message
    pieces: tuple[str, ...]
    is_history: bool

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> OpenMessage:
        """Raises ValueError."""
        role, content = message.get("role"), message.get("content")
        if role == "history":
            return cls({}, (), True)
        if role not in CHAT_ROLES or not isinstance(content, str):
            raise ValueError("a message has a role and a text as its content")
        return cls(dict(message), tuple(VARIABLE.split(content)), False)

    def filled(self, texts: Mapping[str, str]) -> Message:
        pieces = self.pieces
        if len(pieces) == 1:
            return self.members.copy()
        parts = list(pieces)
        parts[1::2] = [texts[name] for name in pieces[1::2]]
        message = self.members.copy()
        message["content"] = "".join(parts)
        return message


class Template:
    """Messages whose texts were cut at their variables, once for all that are filled in.

    Args:
        inputs: what may be given although no message uses it, with limits of texts.
    """

    __slots__ = ("_first_turn_at", "_length", "_limits", "_messages", "_uses", "known", "names")

    def __init__(self, messages: Iterable[Mapping[str, Any]], inputs: Mapping[str, Any] | None = None) -> None:
        """Raises ValueError for what are no open messages, or no inputs."""
        self._messages = tuple(OpenMessage.of(message) for message in messages)
        uses = Counter(name for message in self._messages for name in message.pieces[1::2])
        self.names = tuple(uses)
        self._uses = tuple(uses.items())
        self.known = frozenset([*uses, *(inputs or ())])
        self._limits = {name: limit for name, given in (inputs or {}).items() if (limit := _limit_of(given))}
        self._length = sum(len(message.members.get("content", "")) for message in self._messages)
        users = [i for i, message in enumerate(self._messages) if message.members.get("role") == "user"]
        has_slot = any(message.is_history for message in self._messages)
        self._first_turn_at = users[-1] if users and not has_slot else -1

    @property
    def is_empty(self) -> bool:
        return not self._messages

    def fill(self, variables: Variables, history: History = ()) -> Rendering:
        """Every variable is replaced once. Texts go in as they are, other values as JSON.

        Raises:
            InvalidInput: names each variable that is missing, unknown or too long, and each turn that is no message.
        """
        truncated: tuple[str, ...] = ()
        if self._limits:
            variables, truncated = self._limited(variables)
        is_whole = all(variables.get(name) is not None for name in self.names)
        if history or not is_whole or not self.known.issuperset(variables):
            self._check(variables, history)
        texts = {name: value_text(name, variables[name]) for name in self.names}
        self._check_length(texts, history)
        return Rendering(self._with_turns(texts, history), truncated)

    def fill_anyhow(self, variables: Variables, history: History = ()) -> Rendering:
        """For a fallback, which must answer: what is missing stays open, what is unknown or no message is left out."""
        texts = {name: "{{" + name + "}}" for name in self.names}
        texts |= {name: _any_text(variables[name]) for name in self.names if variables.get(name) is not None}
        return Rendering(self._with_turns(texts, [turn for turn in history or () if _is_turn(turn)]))

    def _with_turns(self, texts: Mapping[str, str], history: History) -> list[Message]:
        if not history:
            return [message.filled(texts) for message in self._messages if not message.is_history]
        filled: list[Message] = []
        for i, message in enumerate(self._messages):
            if message.is_history or i == self._first_turn_at:
                filled += [dict(turn) for turn in history]
            if not message.is_history:
                filled.append(message.filled(texts))
        return filled

    def _limited(self, variables: Variables) -> tuple[Variables, tuple[str, ...]]:
        texts = {name: value for name in self._limits if isinstance(value := variables.get(name), str)}
        long = {name: limit for name, limit in self._limits.items() if len(texts.get(name, "")) > limit.max_chars}
        if not long:
            return variables, ()
        if refused := [name for name, limit in long.items() if limit.is_refused]:
            most = "; ".join(f"{name!r} may have {long[name].max_chars:,} characters" for name in refused)
            pointers = [f"/variables/{name}" for name in refused]
            raise InvalidInput(f"The input is too long: {most}. Send a shorter text.", pointers)
        cut = {name: variables[name][: limit.max_chars] for name, limit in long.items()}
        return {**variables, **cut}, tuple(long)

    def _check(self, variables: Variables, history: History) -> None:
        why = {name: "null" if name in variables else "missing" for name in self.names if variables.get(name) is None}
        why |= {name: "unknown" for name in variables if name not in self.known}
        faults = [(f"/variables/{name}", f"{name!r} is {what}") for name, what in why.items()]
        turns = [i for i, turn in enumerate(history) if not _is_turn(turn)]
        faults += [(f"/history/{i}", f"turn {i} of the history is no chat message") for i in turns]
        if faults:
            known = ", ".join(sorted(self.known)) or "none"
            raise InvalidInput(
                f"Cannot fill in the prompt: {'; '.join(detail for _, detail in faults)}. It asks for: {known}.",
                [pointer for pointer, _ in faults],
            )

    def _check_length(self, texts: Mapping[str, str], history: History) -> None:
        length = self._length + sum(n * len(texts[name]) for name, n in self._uses)
        if history:
            n_slots = sum(message.is_history for message in self._messages) or (self._first_turn_at >= 0)
            length += n_slots * sum(len(value_text("history", turn)) for turn in history)
        if length > MAX_CHARS:
            raise InvalidInput(
                f"Cannot fill in the prompt: it would have more than {MAX_CHARS:,} characters.", ["/variables"]
            )


def value_text(name: str, value: Any) -> str:
    """A value as it stands in a prompt. Raises InvalidInput for what no JSON request could carry."""
    try:
        if not isinstance(value, str):
            value = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
        if not value.isascii():
            value.encode()  # half of a surrogate pair is no text, and no model would take it
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput(
            f"Cannot fill in the prompt: {name!r} is neither a text nor a JSON value.", [f"/variables/{name}"]
        ) from None
    return str(value)


def _any_text(value: Any) -> str:
    """Of any object. Half of a surrogate pair becomes a question mark."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except Exception:  # the application's own object, which may hold itself or raise whatever it likes
        text = object.__repr__(value)
    return text.encode(errors="replace").decode()


def _limit_of(given: Any) -> TextLimit | None:
    if not isinstance(given, Mapping):
        raise ValueError("an input is an object")
    most = given.get("max_chars")
    return TextLimit(most, given.get("too_long") == "refuse") if isinstance(most, int) else None


def _is_turn(turn: Any) -> bool:
    if not isinstance(turn, Mapping) or turn.get("role") not in CHAT_ROLES:
        return False
    content = turn.get("content")
    has_other = any(turn.get(name) is not None for name in NO_CONTENT)
    return isinstance(content, (str, list, tuple)) or (content is None and has_other)
