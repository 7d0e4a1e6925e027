"""A Family: one task with its prompt, as ``families/<name>/family.yaml`` declares it. docs/reference/family.md lists every key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, ValidationError, model_validator

from optimizer.core.errors import Fault, InvalidFamily, NotFound
from optimizer.core.family_faults import faults_of
from optimizer.core.family_rules import check_rules
from optimizer.core.family_settings import (
    Cache,
    Constraints,
    Declared,
    Limits,
    Privacy,
    ReviewSettings,
    RolloutSettings,
    Schedule,
    StudyBudget,
    Targets,
    Triggers,
    Word,
)
from optimizer.core.family_space import DEFAULT_SPACE
from optimizer.core.variant import Message, Variant


class InputField(Declared):
    """One value that an application sends; longer texts are cut to ``max_chars`` before they are rendered."""

    type: Literal["text", "number", "boolean", "json"] = "text"
    max_chars: Annotated[int, Strict(), Field(ge=1)] | None = None


class Output(Declared):
    """How the model's answer is read. ``field`` names it in an Example's ``expected``; ``json_schema`` is ``schema`` in the file."""

    field: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "output"
    parser: Literal["text", "label", "json", "list"] = "text"
    labels: tuple[Word, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class PromptVersion(Declared):
    """One version of the prompt; versions are kept, so that what served last month can still be read."""

    created_at: date | datetime | None = None
    description: str = ""
    content: tuple[Message, ...] = ()  # of a prompt at least one message, of a policy none: see family_rules
    tools: tuple[dict[str, Any], ...] | None = None
    response_format: dict[str, Any] | None = None
    policy: dict[str, Any] = Field(default_factory=dict)


class Prompt(Declared):
    """All versions, and which of them the file means. What is served is the store's champion."""

    current: Word
    versions: dict[str, PromptVersion] = Field(default_factory=dict)


def _no_stop_as_none(value: Any) -> Any:
    return value or None


class ModelSettings(Declared):
    """Names from config/models.yaml and the parameters of a call.

    ``proposer`` None: the default model proposes. ``tiers``, the models of a cascade in the order they are asked: the default model alone.
    More than one become the Variant's ``policy.tiers``.
    """

    default: Word = "embedded"
    proposer: Word | None = None
    tiers: tuple[Word, ...] = ("embedded",)
    temperature: Annotated[float, Strict(), Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Strict(), Field(ge=1)] = 256
    stop: Annotated[list[Word] | None, BeforeValidator(_no_stop_as_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _default_is_the_only_tier(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "tiers" not in data and isinstance(data.get("default"), str):
            return {**data, "tiers": [data["default"]]}
        return data


class Sample(Declared):
    """How examples are drawn. ``balance`` names a field of ``expected``: its classes are drawn in turn, equally often."""

    balance: Word | None = None


class Family(Declared):
    """One task: what goes in and comes out, its prompt versions, how answers are scored, what may vary, how candidates are exposed."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,62}$")]
    description: str = ""
    kind: Literal["prompt", "policy"] = "prompt"
    inputs: dict[str, InputField] = Field(min_length=1)
    output: Output = Output()
    prompt: Prompt = Prompt(current="none")
    model: ModelSettings = ModelSettings()
    scorer: dict[str, Annotated[float, Strict(), Field(gt=0)]] = Field(default_factory=dict)
    space: dict[str, dict[str, Any]] = Field(default_factory=lambda: {slot: dict(entry) for slot, entry in DEFAULT_SPACE.items()})
    sample: Sample = Sample()
    constraints: Constraints = Constraints()
    targets: Targets | None = None
    limits: Limits = Limits()
    cache: Cache = Cache()
    schedule: Schedule = Schedule()
    triggers: Triggers = Triggers()
    budget: StudyBudget = StudyBudget()
    rollout: RolloutSettings = RolloutSettings()
    privacy: Privacy = Privacy()
    review: ReviewSettings = ReviewSettings()

    def variant(self, version: str | None = None) -> Variant:
        """The Variant of a prompt version (default: ``prompt.current``); raises NotFound for a version the file does not have."""
        wanted = version or self.prompt.current
        found = self.prompt.versions.get(wanted)
        if found is None:
            known = ", ".join(self.prompt.versions) or "none, since a family of kind policy needs no prompt"
            raise NotFound(
                f"Family {self.name!r} has no prompt version {wanted!r}; its file has {known}.", family=self.name, version=wanted
            )
        if self.kind == "policy":
            return Variant(messages=(), policy=found.policy)
        model: dict[str, Any] = {"name": self.model.default, "temperature": self.model.temperature, "max_tokens": self.model.max_tokens}
        if self.model.stop:
            model["stop"] = list(self.model.stop)
        return Variant(
            messages=tuple(dict(m) for m in found.content),
            model=model,
            tools=found.tools,
            response_format=found.response_format,
            policy=self._with_tiers(found.policy),
        )

    def _with_tiers(self, policy: Mapping[str, Any]) -> Mapping[str, Any]:
        """Several ``model.tiers`` are a cascade in every version whose policy names no tiers of its own."""
        return policy if len(self.model.tiers) < 2 or "tiers" in policy else {"tiers": list(self.model.tiers), **policy}

    @property
    def own_functions(self) -> frozenset[str]:
        """What the file lets a gate score with: the dotted paths among them are the only ones that are ever imported for a gate."""
        named = [version.policy.get("gate.scorer") for version in self.prompt.versions.values()]
        named += self.space.get("policy.gate.scorer", {}).get("choices", ())
        return frozenset(name for name in named if isinstance(name, str))

    @property
    def metrics(self) -> Mapping[str, float]:
        """Weights of the metrics; where the file names none, the one that suits the parser, or a policy."""
        if self.kind == "policy" and not self.scorer:
            return {"processed_quality": 1.0}
        return self.scorer or {_METRIC_OF_PARSER[self.output.parser]: 1.0}


_METRIC_OF_PARSER = {"text": "rouge_l", "label": "label_match", "json": "exact_match", "list": "list_f1"}


def parse_family(data: Any) -> Family:
    """The Family that plain data (of YAML or JSON) declares.

    Raises:
        InvalidFamily: carries every fault at once, each with a JSON pointer and a sentence: what, why, what to do.
    """
    if not isinstance(data, Mapping):
        raise invalid_family("the family", [Fault(pointer="", detail="a family file is a mapping of keys; start it with `name: ...`")])
    plain = _versions_as_text(data)
    if plain.get("kind") == "policy":
        plain.setdefault("space", {})  # the default varies a prompt
    faults: list[Fault] = []
    family: Family | None = None
    try:
        family = Family.model_validate(plain)
    except ValidationError as error:
        faults += faults_of(error, Family, plain)
    known = {f.pointer for f in faults}
    faults += [f for f in check_rules(plain) if f.pointer not in known]
    if family is None or faults:
        raise invalid_family(f"family {plain.get('name')!r}" if isinstance(plain.get("name"), str) else "the family", faults)
    return family


def invalid_family(subject: str, faults: list[Fault]) -> InvalidFamily:
    """One error for all faults, each in a line of its own."""
    many = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InvalidFamily(f"Cannot use {subject}, because it has {many}:\n" + "\n".join(f"  {describe(f)}" for f in faults), faults)


def describe(fault: Fault) -> str:
    """``file:line /pointer: sentence`` with the parts that are known."""
    place = ":".join(str(part) for part in (fault.file, fault.line) if part is not None)
    return " ".join(part for part in (place, f"{fault.pointer or '/'}:", fault.detail) if part)


def _versions_as_text(data: Mapping[str, Any]) -> dict[str, Any]:
    """YAML reads an unquoted version 1 as a number; whole numbers can mean nothing else, so they become texts."""
    plain = dict(data)
    prompt = plain.get("prompt")
    if isinstance(prompt, Mapping):
        prompt = dict(prompt)
        versions = prompt.get("versions")
        if isinstance(versions, Mapping):
            prompt["versions"] = {_text(k): v for k, v in versions.items()}
        if "current" in prompt:
            prompt["current"] = _text(prompt["current"])
        plain["prompt"] = prompt
    return plain


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
