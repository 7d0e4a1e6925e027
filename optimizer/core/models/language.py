"""Requests to a language model and its answers, independent of any provider.

An answer that is streamed in pieces is put together again into the message that would have been sent whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.variant import NAME, Variant, only_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call: rendered messages and parameters. ``sample`` tells repeated draws at temperature > 0 apart."""

    model: str  # a name in config/models.yaml
    revision: str  # which model the name stands for: hash of the weights file, provider's id
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict)  # temperature, max_tokens, stop, response_format, tools …
    sample: str = "0"
    _key: str = field(default="", init=False, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The journal's name for this call: equal requests share one answer. Computed once, since every
        step needs it.
        """
        if not self._key:
            key = digest(
                canonical_json([self.model, self.revision, list(self.messages), dict(self.params), self.sample])
            )
            object.__setattr__(self, "_key", key)
        return self._key

    @property
    def temperature(self) -> float:
        """The requested temperature; 1.0 where none is set, since providers then draw."""
        named = self.params.get("temperature")
        return 1.0 if named is None else float(named)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    text: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_ms: float
    finish_reason: str = "stop"
    time_to_first_token_ms: float | None = None
    from_journal: bool = False
    raw_message: Mapping[str, Any] | None = None  # tool calls and the like, as the provider sent them
    # Natural logarithm, mean of its tokens, where the request asked and the model gives it.
    log_probability: float | None = None
    log_probability_min: float | None = None  # of its least likely token
    is_priced: bool = True  # False: its model has no known price, and ``cost_usd``, which budgets add up, is 0

    @property
    def known_usd(self) -> float | None:
        """None: not known."""
        return self.cost_usd if self.is_priced else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """Dollars per million tokens. A model without a price cannot be used under a dollar cap.

    Args:
        long: of a call whose prompt has more than ``long_from_tokens`` tokens; None: as of any other.
    """

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    long: ModelPrice | None = None
    long_from_tokens: int = 0

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Dollars of a call."""
        if self.long is not None and input_tokens > self.long_from_tokens:
            return self.long.of(input_tokens, output_tokens)
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6

    def times(self, n: int) -> ModelPrice:
        """Of a call that is made so many times."""
        input, output = n * self.input_usd_per_mtok, n * self.output_usd_per_mtok
        long = None if self.long is None else self.long.times(n)
        return replace(self, input_usd_per_mtok=input, output_usd_per_mtok=output, long=long)


PROPOSER = "proposer"  # the purpose of its calls, which take another time than those of variants
PROPOSAL_TOKENS = 1000  # that a proposer may write


def request_for(
    variant: Variant, messages: Sequence[Mapping[str, Any]], *, revision: str, example: str | None = None, draw: int = 0
) -> ModelRequest:
    """The one way from a Variant's rendered messages to a call, so that search, serving and demo share journaled
    answers.

    Settings of an older store that exist no more are left out. At temperature 0 equal requests share one answer; above
    it each (variant, example, draw) is a sample of its own.
    """
    params = {name: value for name, value in only_settings(variant.model).items() if value is not None}
    model = params.pop(NAME, None)
    if model is None:
        raise InvalidInput(
            f"Variant {variant.id} names no model, so no call can be made of it. Make one that does: --model"
            " name=embedded."
        )
    if variant.tools is not None:
        params["tools"] = [dict(tool) for tool in variant.tools]
    if variant.response_format is not None:
        params["response_format"] = dict(variant.response_format)
    request = ModelRequest(
        model=model, revision=revision, messages=[dict(message) for message in messages], params=params
    )
    is_random = request.temperature != 0 and example is not None
    return replace(request, sample=f"{variant.id}:{example}:{draw}") if is_random else request


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
    """The message so far. Its texts are joined on demand, so that many small pieces cost no more than their length.

    Args:
        max_bytes: the most that the pieces may hold together, by ``size_of``.
    """

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._begun: dict[int, tuple[str, int]] = {}  # index on the wire > the last call with it: id, place
        self._room = self._max_bytes = max_bytes

    def add(self, delta: ModelDelta) -> None:
        """Raises TypeError or ValueError for a delta that fits no message, AnswerTooLong for one too
        many; both happen.
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
                        self._calls.setdefault(self._place_of(call), {}),
                        {k: v for k, v in call.items() if k != "index"},
                    )
            else:
                _merge(self._message, {name: value})

    def _place_of(self, call: Mapping[str, Any]) -> int:
        """Some servers send no index, or 0 with each call: an id and a name of its own begin another one."""
        index, id = int(call.get("index") or 0), call.get("id")
        known_id, place = self._begun.get(index, (id, index))
        if id and known_id and id != known_id and (call.get("function") or {}).get("name"):
            place = max(self._calls, default=-1) + 1
        if id or index not in self._begun:
            self._begun[index] = str(id or ""), place
        return place

    @property
    def text(self) -> str:
        return str(_joined(self._message.get("content")) or "")

    def message(self) -> dict[str, Any]:
        """The message as a whole answer has it."""
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
