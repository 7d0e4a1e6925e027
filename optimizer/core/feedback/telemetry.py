"""Spans and log records of OpenTelemetry as events: a model's call becomes an interaction, an evaluation an outcome.

Instrumentations follow two generations of the GenAI conventions (``gen_ai.system``, then ``gen_ai.provider.name``), and
put messages into attributes, into events of the span or into log records. What names no prompt of a family gives no
event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.models.language import ModelPrice

Attributes = Mapping[str, Any]  # texts, numbers, booleans, lists and mappings; an unset value is None
PriceOf = Callable[[Sequence[str]], ModelPrice | None]  # of the first of these names that has one
ValueOf = Callable[[Any], Any]  # what a text of JSON says; all else is itself

ASSIGNMENT, INPUT, UNIT = "detent.assignment", "detent.input", "detent.unit"
PROMPT, VERSION = "gen_ai.prompt.name", "gen_ai.prompt.version"
UNITS = (UNIT, "user.id", "enduser.id", "session.id", "gen_ai.conversation.id")  # the first that is there
EVALUATION = "gen_ai.evaluation.result"
# Spans of agents and tools contain such calls, which count by themselves.
CALLS = frozenset(("chat", "text_completion", "generate_content"))
_INDEXED = re.compile(r"gen_ai\.(prompt|completion)\.(\d{1,4})\.(role|content)")
_ROLE_OF_EVENT = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
_MOST_MS = 1e12
MESSAGE_CHARS = 300  # as many as a message takes in memory beside its texts, about


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryEvent:
    """An event inside a span, or a log record; ``body`` of the latter alone."""

    name: str
    attributes: Attributes
    at_ns: int = 0
    body: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySpan:
    """``error``: what its status says, where that is an error."""

    trace: str
    span: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: Sequence[TelemetryEvent] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryRecord(TelemetryEvent):
    """A log record, with the span that it belongs to; both empty where it names none."""

    trace: str
    span: str


@dataclass(slots=True)
class CallTexts:
    """``messages``: what a model was sent, each ``{"role", "content"}``; ``output``: what it answered; ``n_chars``: as
    many as all of it takes in memory, about.
    """

    messages: list[dict[str, str]] = field(default_factory=list)
    output: str | None = None
    n_chars: int = field(init=False)

    def __post_init__(self) -> None:
        texts = (text for message in self.messages for text in message.values())
        self.n_chars = MESSAGE_CHARS * len(self.messages) + sum(map(len, texts)) + len(self.output or "")

    def add(self, later: CallTexts) -> None:
        """What came after it of the same call; the first answer stays."""
        self.messages += later.messages
        self.n_chars += later.n_chars - (len(later.output or "") if self.output is not None else 0)
        self.output = later.output if self.output is None else self.output

    def values(self) -> dict[str, Any]:
        """The texts as fields of an interaction."""
        values = {"input": {"messages": self.messages} if self.messages else None, "output": self.output}
        return {name: value for name, value in values.items() if value is not None}


def interaction_id(trace: str, span: str) -> str:
    """ "" where either is no id of the protocol; the event is then refused for that."""
    return f"{trace}-{span}" if len(trace) == 32 and len(span) == 16 and int(trace, 16) and int(span, 16) else ""


def is_of_family(attributes: Attributes, families: Collection[str]) -> bool:
    return _text(attributes, ASSIGNMENT) is not None or _text(attributes, PROMPT) in families


def events_of_span(
    span: TelemetrySpan, families: Collection[str], price_of: PriceOf, value_of: ValueOf, *, evaluations_by: str
) -> Iterator[dict[str, Any]]:
    """Events as clients send them: of a model's call its interaction, and the outcomes that its events name.

    Args:
        evaluations_by: the source of outcomes.
    """
    if not is_of_family(span.attributes, families):
        return
    operation = _text(span.attributes, "gen_ai.operation.name")
    model = _text(span.attributes, "gen_ai.request.model", "gen_ai.response.model")
    if operation in CALLS or (operation is None and model is not None):
        yield {key: value for key, value in _interaction(span, price_of, value_of).items() if value is not None}
    for event in span.events:
        if event.name == EVALUATION:
            yield _outcome(event, span.trace, span.span, span.attributes, evaluations_by)


def outcome_of_record(record: TelemetryRecord, *, evaluations_by: str) -> dict[str, Any] | None:
    """The outcome that an evaluation is; None of any other record."""
    if record.name != EVALUATION:
        return None
    return _outcome(record, record.trace, record.span, record.attributes, evaluations_by)


def texts_of_record(record: TelemetryRecord, value_of: ValueOf) -> CallTexts | None:
    """What a log record says of the call of its span; None where that is nothing, or no span is named."""
    if not interaction_id(record.trace, record.span):
        return None
    texts = texts_in([record], value_of)
    return texts if texts.messages or texts.output is not None else None


def texts_in(carriers: Iterable[TelemetryEvent], value_of: ValueOf) -> CallTexts:
    """What the attributes of a span, its events or its log records say of the call, in the order given."""
    texts = CallTexts()
    for carrier in carriers:
        _read_messages(carrier.attributes, texts, value_of)
        if isinstance(carrier.body, Mapping):  # the details of an operation, where they are no attributes
            _read_messages(carrier.body, texts, value_of)
        _read_named(carrier, texts, value_of)
    return texts


def _interaction(span: TelemetrySpan, price_of: PriceOf, value_of: ValueOf) -> dict[str, Any]:
    attributes = span.attributes
    requested, answered = _text(attributes, "gen_ai.request.model"), _text(attributes, "gen_ai.response.model")
    input_tokens = _count(attributes, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
    output_tokens = _count(attributes, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
    cost_usd = None
    if input_tokens is not None and output_tokens is not None:
        provider = _text(attributes, "gen_ai.provider.name", "gen_ai.system")
        names = [name for name in (answered, requested) if name is not None]
        price = price_of([*names, *(f"{provider}/{name}" for name in names)])
        cost_usd = None if price is None else price.of(input_tokens, output_tokens)
    first_s = _number(attributes, "gen_ai.response.time_to_first_chunk")
    texts = texts_in([TelemetryEvent(name="", attributes=attributes), *span.events], value_of)
    variables = value_of(attributes.get(INPUT))
    if variables is None and texts.messages:  # no prompt's variables are named, so it is what the model was sent
        variables = {"messages": texts.messages}
    return {
        "id": interaction_id(span.trace, span.span),
        **_address(attributes, span.trace),
        "occurred_at": _time(span.start_ns),
        "latency_ms": min(max(0.0, (span.end_ns - span.start_ns) / 1e6), _MOST_MS / 2) if span.end_ns else None,
        "time_to_first_token_ms": None if first_s is None or not 0 <= first_s < _MOST_MS / 1000 else first_s * 1000,
        "model": answered or requested,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost_usd": cost_usd,
        "error": _error(span),
        "conversation": _text(attributes, "gen_ai.conversation.id"),
        "input": variables,
        "output": texts.output,
    }


def _address(attributes: Attributes, trace: str) -> dict[str, Any]:
    """Where the event belongs. A prompt that is named without its token was at least given to a trace."""
    token = _text(attributes, ASSIGNMENT)
    if token is not None:
        return {"assignment": token}
    family = _text(attributes, PROMPT)
    if family is None:
        return {}
    return {"family": family, "variant": _text(attributes, VERSION), "unit": _text(attributes, *UNITS) or trace}


def _outcome(event: TelemetryEvent, trace: str, span: str, of: Attributes, source: str) -> dict[str, Any]:
    """An evaluation of a span is an outcome of its interaction; one of none needs a token or a prompt's name."""
    attributes = event.attributes
    interaction = interaction_id(trace, span) or None
    address = {} if interaction is not None and not is_of_family(of, ()) else _address(of, trace)
    label = _text(attributes, "gen_ai.evaluation.score.label")
    score = attributes.get("gen_ai.evaluation.score.value")
    name = _text(attributes, "gen_ai.evaluation.name")
    identity = [trace, span, name, label, score if isinstance(score, int | float | str) else None, event.at_ns]
    outcome = {
        "id": f"{interaction or 'evaluation'}-{digest(canonical_json([str(part) for part in identity]))[:12]}",
        **address,
        "interaction": interaction,
        "occurred_at": _time(event.at_ns),
        "source": source,
        "score": score,
        "label": label,
        "success": {"pass": True, "fail": False}.get(label.lower()) if label is not None else None,
        "tags": {"evaluation": name} if name is not None else None,
    }
    return {key: value for key, value in outcome.items() if value is not None}


def _error(span: TelemetrySpan) -> str | None:
    """The error in words that tell a timeout from others, where the span has one."""
    kind = _text(span.attributes, "error.type")
    if span.error is None and kind is None:
        return None
    return ": ".join(part for part in (kind, (span.error or "").strip()) if part) or "the span's status is an error"


# --- messages ---------------------------------------------------------------------------------------------------------


def _read_messages(attributes: Attributes, texts: CallTexts, value_of: ValueOf) -> None:
    for part in _list(value_of(attributes.get("gen_ai.system_instructions"))):
        _add(texts, "system", part)
    for name in ("gen_ai.input.messages", "gen_ai.prompt"):
        for message in _list(value_of(attributes.get(name))):
            _add(texts, "user", message)
    for name in ("gen_ai.output.messages", "gen_ai.completion"):
        for message in _list(value_of(attributes.get(name)))[:1]:  # the first of several choices
            _answer(texts, message)
    # `gen_ai.prompt.0.content` and the like, as instrumentations wrote before there were events.
    indexed: dict[tuple[str, int], dict[str, Any]] = {}
    for name, value in attributes.items():
        if name.startswith("gen_ai.") and (match := _INDEXED.fullmatch(name)) is not None:
            indexed.setdefault((match[1], int(match[2])), {})[match[3]] = value
    for (which, place), message in sorted(indexed.items(), key=lambda item: item[0][1]):
        if which != "completion":
            _add(texts, "user", message)
        elif place == 0:
            _answer(texts, message)


def _read_named(carrier: TelemetryEvent, texts: CallTexts, value_of: ValueOf) -> None:
    """Events for one message each; their content is the body of a log record, or JSON in an attribute."""
    role = _ROLE_OF_EVENT.fullmatch(carrier.name)
    if role is None and carrier.name != "gen_ai.choice":
        return
    content = next(
        (
            value
            for value in (carrier.body, value_of(carrier.attributes.get("gen_ai.event.content")), carrier.attributes)
            if isinstance(value, Mapping) and value
        ),
        {},
    )
    if role is not None:
        _add(texts, role[1], content)
    elif content.get("index") in (None, 0, "0"):
        message = value_of(content.get("message"))
        _answer(texts, message if message is not None else content)


def _add(texts: CallTexts, role: str, message: Any) -> None:
    content = _content(message)
    if content:
        own = message.get("role") if isinstance(message, Mapping) else None
        texts.add(CallTexts([{"role": own if isinstance(own, str) else role, "content": content}]))


def _answer(texts: CallTexts, message: Any) -> None:
    if texts.output is None and (content := _content(message)):
        texts.add(CallTexts(output=content))


def _content(message: Any) -> str:
    """A message's text: its ``content``, or that of its parts; what is no text, such as a tool's call, as JSON."""
    if isinstance(message, str):
        return message
    if isinstance(message, list | tuple):
        return "\n".join(text for part in message if (text := _content(part)))
    if not isinstance(message, Mapping):
        return ""
    for name in ("content", "text", "parts", "tool_calls"):
        if name == "tool_calls" and message.get(name):
            return _as_json(message[name])
        if (text := _content(message.get(name))) != "":
            return text
    return _as_json(message) if message.get("type") in ("tool_call", "tool_call_response", "function") else ""


def _as_json(value: Any) -> str:
    try:
        return canonical_json(value).decode()
    except ValueError:  # a number that JSON has not
        return str(value)


# --- attributes -------------------------------------------------------------------------------------------------------


def _text(attributes: Attributes, *names: str) -> str | None:
    return next((value for name in names if isinstance(value := attributes.get(name), str) and value.strip()), None)


def _number(attributes: Attributes, name: str) -> float | None:
    value = attributes.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(attributes: Attributes, *names: str) -> int | None:
    for name in names:
        value = _number(attributes, name)
        if value is not None and 0 <= value < 2**31:
            return int(value)
    return None


def _time(at_ns: int) -> datetime | None:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_ns // 1000) if at_ns else None


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else [value]
