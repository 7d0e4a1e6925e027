"""A Variant: one full, immutable setting of a Family, named by its content.

``SETTINGS`` is what a Variant may say of a call beside its messages. That list is the only one: nothing else reaches a
provider. Addresses, headers and keys are in config/models.yaml alone, since a call carries the provider's key to
wherever its arguments say.

The module also has what may vary a Variant: the base prompts that a family declares for sizes of models, and the form
of a declared space, which ``core/search/space.py`` turns into the dimensions of a search.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from optimizer.core.base.answers import Json, Text
from optimizer.core.base.canonical import canonical_json, digest, round_floats
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import Knob, is_number, is_whole

MAX_OUTPUT_TOKENS = 1_000_000  # of an answer: more than any model writes; a study's reserve depends on it

SETTINGS: tuple[Knob, ...] = (
    Knob(
        name="temperature",
        kind="number",
        low=0,
        high=2,
        meaning="How freely tokens are drawn; 0: always the likeliest.",
    ),
    Knob(name="max_tokens", kind="integer", low=1, high=MAX_OUTPUT_TOKENS, meaning="Length of an answer at most."),
    Knob(name="stop", kind="list", meaning="Texts at which an answer ends."),
    Knob(name="seed", kind="integer", meaning="Where a provider can repeat its draws."),
    Knob(
        name="top_p", kind="share", meaning="Only the likeliest tokens that together have this probability are drawn."
    ),
    Knob(name="top_k", kind="integer", low=-1, meaning="Only so many of the likeliest tokens are drawn."),
    Knob(name="min_p", kind="share", meaning="Tokens less likely than this share of the likeliest are not drawn."),
    Knob(
        name="frequency_penalty",
        kind="number",
        low=-2,
        high=2,
        meaning="Against tokens by how often they stand in the answer.",
    ),
    Knob(
        name="presence_penalty",
        kind="number",
        low=-2,
        high=2,
        meaning="Against tokens that stand in the answer at all.",
    ),
    Knob(
        name="repetition_penalty",
        kind="number",
        low=0,
        high=10,
        meaning="Against repeated tokens, as vLLM and llama.cpp have it.",
    ),
    Knob(name="logit_bias", kind="data", meaning="Likelihood added by token id."),
    Knob(name="reasoning_effort", kind="text", meaning="How long a reasoning model thinks, such as low."),
    Knob(name="verbosity", kind="text", meaning="How much a model writes, such as low."),
    Knob(name="parallel_tool_calls", kind="flag", meaning="Whether one answer may call several tools."),
)
_BY_NAME: Mapping[str, Knob] = {setting.name: setting for setting in SETTINGS}
NAME = "name"  # of the model, in config/models.yaml


def model_faults(model: Mapping[str, Any], pointer: str = "/model") -> list[Fault]:
    """What a Variant's model settings may not hold, each with its pointer; a setting that is null counts as absent."""
    return [
        Fault(pointer=pointer + pointer_of([name]), detail=detail)
        for name, value in model.items()
        if (detail := setting_fault(name, value)) is not None
    ]


def setting_fault(name: str, value: Any) -> str | None:
    """Why this is no setting of a Variant's model, as a sentence; None where it is one."""
    if name == NAME:
        return (
            None
            if isinstance(value, str) and value.strip()
            else f"a model is named by a text of config/models.yaml, not {value!r:.80}"
        )
    setting = _BY_NAME.get(name)
    if setting is None:
        allowed = ", ".join((NAME, *_BY_NAME))
        return (
            f"{name!r:.80} is no generation setting; allowed are {allowed}. Addresses, headers and keys stand in"
            " config/models.yaml alone"
        )
    if value is None:
        return None
    detail = setting.fault(value)
    if detail is None and name == "stop" and not all(isinstance(text, str) and text for text in value):
        detail = "stop is a list of texts"
    if detail is None and name == "logit_bias" and not all(isinstance(bias, int | float) for bias in value.values()):
        detail = "logit_bias gives each token id a number"
    return detail


def only_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model's name and its generation settings, without anything else that an older store still holds."""
    return {name: value for name, value in model.items() if setting_fault(name, value) is None}


VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
# Roles of a message that is sent; some servers write any role into the prompt.
CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
ROLES = ("system", "user", "assistant", "examples", "history")
SLOTS = ("examples", "history")
# What a turn may have instead of a content.
NO_CONTENT = ("tool_calls", "function_call", "refusal", "reasoning_content", "thinking_blocks")


def turn_faults(turn: Any) -> Iterator[Fault]:
    """Why this is no turn of a chat, with places in it. What parts of a content may be is not looked at."""
    if not isinstance(turn, Mapping):
        yield Fault(pointer="", detail="a turn is an object")
        return
    if turn.get("role") not in CHAT_ROLES:
        yield Fault(pointer="/role", detail=f"must be one of {', '.join(CHAT_ROLES)}")
    content = turn.get("content")
    has_other = any(turn.get(name) is not None for name in NO_CONTENT)
    if not isinstance(content, str | list | tuple) and (content is not None or not has_other):
        yield Fault(pointer="/content", detail="a content is a text, or a list of parts; null only beside tool_calls")


def repeated_slots(roles: Sequence[Any]) -> list[str]:
    """What is wrong with each place of a prompt that stands in it more than once."""
    return [
        f"{{role: {slot}}} stands here {roles.count(slot)} times and can be filled once; keep one"
        for slot in SLOTS
        if roles.count(slot) > 1
    ]


Source = Literal["file", "study", "person", "import", "environment", "draft"]
DRAFT: Source = "draft"  # a text that a person tried and did not save: no list shows it
# {"role": "system"|"user"|"assistant"|"examples"|"history", "content": str}; the last two carry no content.
Message = dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot:
    """One few-shot example inside a Variant: the input as the Family declares it, the output as the model should write
    it.
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
            object.__setattr__(self, name, round_floats(getattr(self, name)))
        object.__setattr__(self, "examples", tuple(replace(e, input=round_floats(e.input)) for e in self.examples))
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

    def showing(self, examples: Iterable[FewShot]) -> Variant:
        """The same with these examples for all requests; nearest ones, which would stand in their place, go."""
        by_model = {model: n for model, n in (self.policy.get("examples") or {}).items() if model != "nearest"}
        policy = {name: value for name, value in self.policy.items() if name.partition(".")[0] != "examples"}
        return replace(
            self, examples=tuple(examples), policy={**policy, **({"examples": by_model} if by_model else {})}
        )

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


Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = get_args(Size)
SMALLEST: Size = "small"
DEFAULT_SIZE: Size = "medium"  # of a model of which nothing is said


def with_current_base(prompt: Mapping[str, Any], model: Any, sizes: Mapping[str, Size]) -> dict[str, Any]:
    """The plain data of a prompt, with ``current`` taken from ``by_size`` where the file leaves it out.

    Args:
        model: the name of the family's default model, as far as the file says one.
        sizes: of the models that are known, by name.
    """
    bases = prompt.get("by_size")
    if "current" in prompt or not isinstance(bases, Mapping):
        return dict(prompt)
    base = bases.get(sizes.get(model, DEFAULT_SIZE) if isinstance(model, str) else DEFAULT_SIZE)
    return {**prompt, "current": base} if isinstance(base, str) else dict(prompt)


DEFAULT_SPACE: Mapping[str, Mapping[str, Any]] = {
    "instruction": {"propose": True},
    "examples": {"max": 6},
    "temperature": {"float": [0.0, 1.0]},
}

POLICY = "policy."
CONFIDENCE = "policy.confidence"
SCORE_SLOT = "policy.score"
_RANGES = ("float", "int", "choices")
FORMS: Mapping[str, tuple[str, ...]] = {
    "instruction": ("propose", "choices"),
    "examples": ("max",),
    "temperature": ("float", "choices"),
    "max_tokens": ("int", "choices"),
    "top_p": ("float", "choices"),
    "frequency_penalty": ("float", "choices"),
    "presence_penalty": ("float", "choices"),
    "model": ("choices",),
}
_SHOWN = {
    "propose": "{propose: true}",
    "max": "{max: 6}",
    "float": "{float: [0.0, 1.0]}",
    "int": "{int: [16, 64]}",
    "choices": "{choices: [a, b]}",
}


def varied_knobs(space: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs of a policy that a space varies: by name, without the slot's ``policy.``, each with its entry."""
    return {slot.removeprefix(POLICY): entry for slot, entry in space.items() if slot.startswith(POLICY)}


def is_to_be_learned(slot: str, option: Any) -> bool:
    """Whether an option is a predictor or a score without data: strategy replay is to train it."""
    if slot == SCORE_SLOT:
        return isinstance(option, Mapping) and option.get("kind") == "learned" and not option.get("types")
    return (
        slot == CONFIDENCE
        and isinstance(option, Mapping)
        and option.get("kind") == "predictor"
        and not (option.get("before") or option.get("after"))
    )


def space_faults(space: Any, inputs: Collection[str] | None = None) -> list[Fault]:
    """Everything wrong with a declared space; empty when it can be searched.

    Args:
        inputs: what a listed instruction may name; None: not looked at.
    """
    if not isinstance(space, Mapping):
        return [
            Fault(
                pointer="/space",
                detail="the space is a mapping of slots to ranges, such as {temperature: {float: [0.0, 1.0]}}",
            )
        ]
    faults = []
    for slot, entry in space.items():
        problem = _slot_problem(str(slot), entry)
        if problem:
            faults.append(Fault(pointer=f"/space/{slot}", detail=problem))
        elif slot == "instruction" and inputs is not None:
            faults += [
                Fault(
                    pointer=f"/space/{slot}/choices/{at}",
                    detail=f"{{{{{name}}}}} is no input of the family; its inputs: {', '.join(inputs)}",
                )
                for at, text in enumerate(entry.get("choices", ()))
                for name in dict.fromkeys(VARIABLE.findall(text))
                if name not in inputs
            ]
    return faults


def _slot_problem(slot: str, entry: Any) -> str | None:
    is_policy = slot.startswith(POLICY) and len(slot) > len(POLICY)
    forms = _RANGES if is_policy else FORMS.get(slot)
    if forms is None:
        return f"there is no slot {slot!r} to vary; use {', '.join(FORMS)} or policy.<name>"
    expected = f"give {slot} as {' or '.join(_SHOWN[f] for f in forms)}"
    if not isinstance(entry, Mapping):
        return f"{entry!r} is no range; {expected}"
    if slot == "examples" and isinstance(entry.get("order", False), bool):
        entry = {k: v for k, v in entry.items() if k != "order"}
    if slot == "instruction" and "choices" in entry and isinstance(entry.get("propose", False), bool):
        entry = {k: v for k, v in entry.items() if k != "propose"}
    if len(entry) != 1 or next(iter(entry)) not in forms:
        return f"{dict(entry)!r} does not fit; {expected}"
    ((form, value),) = entry.items()
    problem = _value_problem(form, value) or (None if is_policy else _setting_problem(slot, form, value))
    return f"{problem}; {expected}" if problem else None


def _value_problem(form: str, value: Any) -> str | None:
    if form == "propose":
        return None if isinstance(value, bool) else f"propose is true or false, not {value!r}"
    if form == "max":
        return None if is_whole(value) and value >= 0 else f"max is a whole number of 0 or more, not {value!r}"
    if form == "choices":
        return (
            None
            if isinstance(value, list | tuple) and value
            else f"choices is a list of at least one value, not {value!r}"
        )
    fits = is_whole if form == "int" else is_number
    if not (isinstance(value, list | tuple) and len(value) == 2 and all(fits(v) for v in value)):
        return f"{form} takes two finite numbers [low, high], not {value!r:.80}"
    return None if value[0] <= value[1] else f"the low end {value[0]} lies above the high end {value[1]}"


def _setting_problem(slot: str, form: str, value: Any) -> str | None:
    """Why a value of the range is no value of the setting: what a search puts into a Variant is sent with a call."""
    if slot in ("instruction", "examples"):
        texts = value if form == "choices" else ()
        return next(
            (
                f"an instruction is a text that is not empty, not {item!r:.80}"
                for item in texts
                if not isinstance(item, str) or not item.strip()
            ),
            None,
        )
    name = NAME if slot == "model" else slot
    return next((fault for item in value if (fault := setting_fault(name, item)) is not None), None)
