"""A Variant: one full, immutable setting of a Family, named by its content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from optimizer.core.base.answers import Json
from optimizer.core.base.canonical import canonical_json, digest, rounded
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.texts import Text

VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
CHAT_ROLES = (
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
)  # of a message that is sent; some servers write into the prompt whatever stands there
ROLES = ("system", "user", "assistant", "examples", "history")

Source = Literal["file", "study", "person", "import", "environment"]
Message = dict[
    str, Json
]  # {"role": "system"|"user"|"assistant"|"examples"|"history", "content": str}; the last two carry no content


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot:
    """One few-shot example inside a Variant: the input as the Family declares it,
    the output as the model should write it.
    """

    id: str
    input: Text[Mapping[str, Json]]
    output: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Messages with open ``{{variables}}``, few-shot examples, model settings, tools, response format and policy.

    A family of kind policy has Variants without messages: a policy alone.

    ``id`` is ``v_`` and the first 12 hex digits of the SHA-256 of the canonical JSON (RFC 8785, floats rounded to 6
    decimals) of the content, so that equal settings have one name wherever they were made. Floats are rounded when it
    is made: one id is never two contents.
    """

    messages: tuple[Message, ...]
    examples: tuple[FewShot, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] | None = None
    response_format: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    # Once asked for; no answer shows it.
    _id: Annotated[str | None, Field(exclude=True)] = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("model", "tools", "response_format", "policy"):
            object.__setattr__(self, name, rounded(getattr(self, name)))
        object.__setattr__(self, "examples", tuple(replace(e, input=rounded(e.input)) for e in self.examples))
        faults = []
        for i, message in enumerate(self.messages):
            if message.get("role") not in ROLES:
                faults.append(
                    Fault(
                        pointer=f"/messages/{i}/role",
                        detail=f"unknown role {message.get('role')!r}; known: {', '.join(ROLES)}",
                    )
                )
            elif message["role"] not in ("examples", "history") and not isinstance(message.get("content"), str):
                faults.append(Fault(pointer=f"/messages/{i}/content", detail="a message needs a text as content"))
        is_policy = bool(self.policy) and not self.messages and not self.examples
        if not is_policy and not any(m.get("role") == "user" for m in self.messages):
            faults.append(Fault(pointer="/messages", detail="a prompt needs at least one user message"))
        for i, example in enumerate(self.examples):
            if any(VARIABLE.search(text) for text in _texts([example.output, example.input])):
                faults.append(
                    Fault(
                        pointer=f"/examples/{i}",
                        detail=(
                            f"example {example.id!r} contains a {{{{variable}}}}, which a client would fill in; leave"
                            " it out"
                        ),
                    )
                )
        if faults:
            raise InvalidInput("This is no servable variant: " + "; ".join(f.detail for f in faults), faults)

    def content(self) -> dict[str, Any]:
        """The content as plain JSON values: what is hashed, stored and exported."""
        return {
            "messages": [dict(m) for m in self.messages],
            "examples": [{"id": e.id, "input": dict(e.input), "output": e.output} for e in self.examples],
            "model": dict(self.model),
            "tools": [dict(t) for t in self.tools] if self.tools is not None else None,
            "response_format": dict(self.response_format) if self.response_format is not None else None,
            "policy": dict(self.policy),
        }

    @property
    def id(self) -> str:
        if self._id is None:
            object.__setattr__(self, "_id", "v_" + digest(canonical_json(self.content()))[:12])
        assert self._id is not None
        return self._id

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the open variables, in the order they first appear."""
        return tuple(dict.fromkeys(n for m in self.messages for n in VARIABLE.findall(m.get("content") or "")))

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Variant:
        """The inverse of ``content()``; raises InvalidInput when the content is no servable variant."""
        return cls(
            messages=tuple(dict(m) for m in content["messages"]),
            examples=tuple(
                FewShot(id=e["id"], input=dict(e["input"]), output=e["output"]) for e in content.get("examples") or ()
            ),
            model=dict(content.get("model") or {}),
            tools=content.get("tools"),
            response_format=content.get("response_format"),
            policy=dict(content.get("policy") or {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRecord:
    """A Variant as stored, with its origin."""

    family: str
    variant: Variant
    source: Source
    created_at: datetime
    created_by: str
    note: str = ""
    file_version: str | None = None
    parent: str | None = None
    study: str | None = None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)
