"""The shape of answers: OpenAI's completion, OpenAI's stream, and the interaction's record, all from one ChatResult.

The maker of the answer (one model call, a fallback, a policy of several) hands over a ChatResult;
nothing here asks a model.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

from api.access.key_limits import KeySpending
from api.prompt import to_json
from api.served import ServedChoice
from optimizer.core.base.errors import DetentError
from optimizer.core.base.values import REFUSED
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Message, Variant
from optimizer.core.feedback.events import NO_FAMILY
from optimizer.core.models.language import ModelAnswer, ModelDelta, ModelRequest, delta_of
from optimizer.core.policy.attempts import Attempt
from optimizer.core.policy.nearest import ShownExamples, nearest_of

MAX_ERROR_CHARS = 1000
DIGITS = {"confidence": 6, "cost_usd": 12}  # after the point, for who reads an answer: sums of floats have noise behind
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """One request on its way: what is served, what the model gets, and the id of its record."""

    id: str
    served: ServedChoice | None  # None: the request names a model and no family
    variant: Variant  # for a model by its own name, an empty one
    shown: ShownExamples  # the variant as this request is shown it
    request: ModelRequest
    input: Mapping[str, Any]
    rendered: Callable[[Variant], list[Message]]  # a variant of the family -> its messages for this request
    sticky: bool
    follows_on: bool = False  # brings earlier turns, or what tools found
    cheapest_only: bool = False  # the family's money for this hour is spent: no dearer model may answer
    actor: str = ""
    spending: KeySpending | None = None  # where the sender's key has limits of its own
    injection: Sequence[str] = ()  # signs that the input speaks to the model
    truncated: Sequence[str] = ()  # inputs that were cut
    unit: str | None = None  # as sent, where no token holds it
    may_cost_usd: float = 0.0  # at most, where an hour's money is limited

    @property
    def family(self) -> str:
        return self.served.family.name if self.served is not None else NO_FAMILY

    @property
    def definition(self) -> Family | None:
        return self.served.family.definition if self.served is not None else None

    @property
    def token(self) -> str | None:
        return self.served.token if self.served is not None else None

    @property
    def requested_model(self) -> str:
        """The request's ``model``."""
        return self.family or self.request.model


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """What became of a call: the answer, and the models asked for it in order, the one that gave it last."""

    answer: ModelAnswer
    models: tuple[str, ...]
    confidence: float | None = None  # in [0, 1]; None where nothing estimates it
    cached: bool = False
    model: str | None = None  # the one that answered, where it is not the last one asked
    parts: Sequence[Mapping[str, Any]] = ()  # the calls it was made of, where a policy made several
    follow_up: Callable[[], Awaitable[Sequence[Attempt]]] | None = None  # what is still asked once the answer is out
    tags: Mapping[str, Any] = field(default_factory=dict)  # for the interaction's record
    more: Mapping[str, Any] = field(default_factory=dict)  # further members of the answer's `detent` object


def completion(call: AnsweredCall, answered: ChatResult) -> dict[str, Any]:
    """OpenAI's chat completion, with what OpenAI has no word for under ``detent``."""
    answer = answered.answer
    return {
        "id": call.id,
        "object": "chat.completion",
        "created": int(time()),
        "model": call.requested_model,
        "choices": [
            {"index": 0, "message": message_of(answer), "finish_reason": answer.finish_reason, "logprobs": None}
        ],
        "usage": usage_of(answer),
        "detent": detent_of(call, answered),
    }


def message_of(answer: ModelAnswer) -> dict[str, Any]:
    return {"role": "assistant", "content": answer.text or None, "refusal": None, **(answer.raw_message or {})}


def usage_of(answer: ModelAnswer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def detent_of(call: AnsweredCall, answered: ChatResult) -> dict[str, Any]:
    detent: dict[str, Any] = {
        "assignment": call.token,
        "family": call.family or None,
        "variant": call.served.choice.variant if call.served is not None else None,
        "role": call.served.choice.role if call.served is not None else None,
        "tiers": list(answered.models),
        "confidence": answered.confidence,
        "cost_usd": answered.answer.known_usd,
        "sticky": call.sticky,
        "cached": answered.cached,
    }
    if call.cheapest_only:
        detent["limited"] = "usd_per_hour"
    if call.injection:
        detent["injection"] = list(call.injection)
    if nearest_of(call.variant.policy) is not None:
        detent["render"] = call.shown.kind
    if call.truncated:
        detent["truncated"] = list(call.truncated)
    detent |= answered.more
    if others := detent.get("others"):
        detent["others"] = [_rounded(one) for one in others]
    return _rounded(detent)


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    digits = {name: n for name, n in DIGITS.items() if figures.get(name) is not None}
    return {**figures, **{name: round(figures[name], n) for name, n in digits.items()}}


class StreamShape:
    """One answer as Server-Sent Events. ``usage`` is asked for by ``stream_options.include_usage``."""

    def __init__(self, call: AnsweredCall, *, usage: bool) -> None:
        self._call, self._usage = call, usage
        self._frame = {
            "id": call.id,
            "object": "chat.completion.chunk",
            "created": int(time()),
            "model": call.requested_model,
        }

    def first(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def pieces(self, deltas: Sequence[ModelDelta]) -> bytes:
        return b"".join(
            [self._chunk({name: value for name, value in delta.items() if name != "role"}) for delta in deltas]
        )

    def whole(self, answered: ChatResult) -> bytes:
        """The chunks of an answer of which no piece was sent yet."""
        delta = delta_of(message_of(answered.answer))
        return self._chunk(delta) if delta else b""

    def last(self, answered: ChatResult) -> Iterator[bytes]:
        """The end. The very last chunk carries the ``detent`` object."""
        detent, finish = {"detent": detent_of(self._call, answered)}, answered.answer.finish_reason
        if self._usage:
            yield self._chunk({}, finish)
            yield self._event({**self._frame, "choices": [], "usage": usage_of(answered.answer), **detent})
        else:
            yield self._chunk({}, finish, **detent)
        yield DONE

    def error(self, error: DetentError) -> bytes:
        """An event that OpenAI's clients raise as an APIError. No [DONE] follows: the answer has no end."""
        members = {name: value for name, value in error.members.items() if name not in ("kind", "sent")}
        problem = {
            "message": error.detail,
            "type": error.slug,
            "param": None,
            "code": error.members.get("kind"),
            **members,
        }
        return self._event({"error": problem})

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        usage = {"usage": None} if self._usage else {}
        return self._event({**self._frame, "choices": choices, **usage, **more})

    def _event(self, values: Mapping[str, Any]) -> bytes:
        return b"data: " + json_bytes(values) + b"\n\n"


def json_bytes(values: Mapping[str, Any]) -> bytes:
    try:
        return to_json(values)
    except UnicodeEncodeError:  # half of a surrogate pair, from the provider: JSON can say it, UTF-8 cannot
        return json.dumps(values, default=str).encode()


def report_of(answered: ChatResult, *, latency_ms: float, time_to_first_token_ms: float | None) -> dict[str, Any]:
    """The interaction as it goes on record.

    A cached answer says nothing about how quick or dear its variant is, so neither is reported:
    None means not measured.
    """
    answer = answered.answer
    report: dict[str, Any] = {
        "output": storable(answer.text),
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "model": answered.model or answered.models[-1],
    }
    tags = dict(answered.tags)
    if answered.parts:
        report["parts"] = list(answered.parts)
    if REFUSED in tags:  # no answer is no right one
        report |= {"source": "system", "success": False, "score": 0.0}
    if answered.cached:
        tags["cached"] = True
    else:
        report |= {
            "latency_ms": latency_ms,
            "cost_usd": answer.known_usd,
            "time_to_first_token_ms": time_to_first_token_ms,
        }
    if len(answered.models) > 1 and not answered.parts:
        tags["models_asked"] = ",".join(answered.models)
    return {**report, "tags": tags} if tags else report


def failure_report(
    error: str,
    *,
    model: str,
    output: str = "",
    latency_ms: float | None = None,
    time_to_first_token_ms: float | None = None,
) -> dict[str, Any]:
    """The record of a call without a whole answer; ``output`` is what had come of it, ``model`` the last one that was
    asked for it, since failures of a model are counted beside its answers.
    """
    report = {
        "error": storable(error)[:MAX_ERROR_CHARS],
        "model": model,
        "latency_ms": latency_ms,
        "time_to_first_token_ms": time_to_first_token_ms,
    }
    return {**report, "output": storable(output)} if output else report


def storable(text: str) -> str:
    """The text without what no database stores (U+0000, half surrogate pairs): an odd byte must not cost a record."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
