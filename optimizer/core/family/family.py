"""A Family: one task with its prompt, as ``families/<name>/family.yaml`` declares it.

docs/reference/family.md lists every key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Strict,
    Tag,
    model_validator,
)

from optimizer.core.base.answers import Json
from optimizer.core.base.errors import Fault, NotFound
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.base.registry import Registry, declares
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.settings import (
    Cache,
    Constraints,
    Declaration,
    FamilyLimits,
    InputField,
    JudgeSettings,
    Output,
    Privacy,
    ReviewSettings,
    RolloutSettings,
    Schedule,
    Signal,
    StudyBudget,
    Suites,
    Triggers,
    Word,
    metric_of_signals,
    no_number_as_date,
)
from optimizer.core.family.variant import DEFAULT_SPACE, MAX_OUTPUT_TOKENS, Message, Variant

NAME = re.compile(r"^[a-z][a-z0-9_]{1,62}$")


class PromptVersion(Declaration):
    """One version of the prompt; versions are kept, so that what served last month can still be read."""

    created_at: Annotated[date | datetime, BeforeValidator(no_number_as_date)] | None = None
    description: str = ""
    content: tuple[Message, ...] = ()  # a prompt has at least one message, a policy none: see declaration/rules.py
    tools: tuple[dict[str, Any], ...] | None = None
    response_format: dict[str, Any] | None = None
    policy: dict[str, Any] = Field(default_factory=dict)


class BaseVersions(Declaration):
    """The version that is the base for models of each size."""

    small: Word
    medium: Word
    large: Word

    def names(self) -> tuple[str, ...]:
        """Each version once, from small to large."""
        return tuple(dict.fromkeys((self.small, self.medium, self.large)))


class Prompt(Declaration):
    """All versions, and which of them the file means. What is served is the store's champion.

    Where the file has ``by_size`` and no ``current``, current is the base for the size of the default model.
    """

    current: Word
    by_size: BaseVersions | None = None
    versions: dict[str, PromptVersion] = Field(default_factory=dict)


STUDENT = "student"  # which model a student's name means
Teach = Literal["labels", "answers", "both"]  # what a student learns from: people's, the strongest tier's


class FamilyModels(Declaration):
    """Names from config/models.yaml and the parameters of a call.

    ``proposer`` None: the default model proposes. ``tiers``, the models of a cascade in the order they are asked: the
    default model alone. More than one model become the Variant's ``policy.tiers``; a student joins them by a study.
    """

    default: Word = "embedded"
    proposer: Word | None = None
    tiers: tuple[Word, ...] = ("embedded",)
    temperature: Annotated[float, Strict(), Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Strict(), Field(ge=1, le=MAX_OUTPUT_TOKENS)] = 256
    stop: Annotated[list[Word] | None, BeforeValidator(lambda stop: stop or None)] = None

    @model_validator(mode="before")
    @classmethod
    def _default_is_the_only_tier(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "tiers" not in data and isinstance(data.get("default"), str):
            return {**data, "tiers": [data["default"]]}
        return data


class Sample(Declaration):
    """How examples are drawn.

    ``balance`` names a field of ``expected``: its classes are drawn in turn, equally often.
    """

    balance: Word | None = None


Weight = Annotated[float, Strict(), Field(gt=0)]


class MetricUse(BaseModel):
    """A metric with its own parameters, by name beside its weight; ``metrics.py`` knows which it takes.

    ``optional``: it counts only for examples whose expected output is an object that has its ``key``.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    weight: Weight
    optional: Annotated[bool, Strict()] = False

    @property
    def parameters(self) -> Mapping[str, Any]:
        return dict(self.model_extra or {})


_WeightAlone = Annotated[Weight, Tag("weight alone")]
_WithParameters = Annotated[MetricUse, Tag("with parameters")]
Use = Annotated[
    _WeightAlone | _WithParameters,
    Discriminator(lambda use: "with parameters" if isinstance(use, Mapping | MetricUse) else "weight alone"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRow:
    """One request with its expected output.

    ``scenario``: what it belongs to; rows of one scenario are compared together. ``counts``: the metrics of the
    family's score that count for it; none: all of them.
    """

    id: str
    scenario: str
    input: Mapping[str, Json]
    expected: Mapping[str, Json]
    counts: tuple[str, ...] = ()


class Family(Declaration):
    """One task: its inputs and output, prompt versions, scorer, what may vary, and how candidates are exposed."""

    name: Annotated[str, Field(pattern=NAME.pattern)]
    description: str = ""
    kind: Word = "prompt"
    inputs: dict[str, InputField] = Field(min_length=1)
    output: Output = Output()
    prompt: Prompt = Prompt(current="none")
    model: FamilyModels = FamilyModels()
    scorer: dict[str, Use] = Field(default_factory=dict)
    space: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {slot: dict(entry) for slot, entry in DEFAULT_SPACE.items()}
    )
    sample: Sample = Sample()
    constraints: Constraints = Constraints()
    judge: JudgeSettings | None = None
    targets: Suites | None = None
    limits: FamilyLimits = FamilyLimits()
    cache: Cache = Cache()
    schedule: Schedule = Schedule()
    triggers: Triggers = Triggers()
    budget: StudyBudget = StudyBudget()
    outcome: dict[Signal, Annotated[float, Strict(), Field(gt=0)]] = Field(default_factory=dict)  # weights of signals
    rollout: RolloutSettings = RolloutSettings()
    privacy: Privacy = Privacy()
    review: ReviewSettings = ReviewSettings()
    _golden: tuple[GoldenRow, ...] = PrivateAttr(default=())  # of a file of its own: no key of family.yaml
    _judges: Mapping[str, str] = PrivateAttr(
        default_factory=dict
    )  # member of the judge -> its model in config/models.yaml
    _students: frozenset[str] = PrivateAttr(default=frozenset())  # those of model.tiers

    @model_validator(mode="before")
    @classmethod
    def _metric_of_outcome(cls, declared: Any) -> Any:
        """The outcome that signals make is the rollout's metric where the file names no other."""
        if not isinstance(declared, Mapping):
            return declared
        signals, rollout = declared.get("outcome"), declared.get("rollout") or {}
        named = not isinstance(rollout, Mapping) or rollout.get("metric") is not None
        if named or not isinstance(signals, Mapping) or not signals:
            return declared
        return {**declared, "rollout": {**rollout, "metric": metric_of_signals(signals).model_dump()}}

    @property
    def golden(self) -> tuple[GoldenRow, ...]:
        """The golden scenarios of golden.jsonl beside the family's file."""
        return self._golden

    def with_golden(self, rows: tuple[GoldenRow, ...]) -> Family:
        copy = self.model_copy()
        copy._golden = rows
        return copy

    @property
    def judges(self) -> Mapping[str, str]:
        """Name of a member of the judge -> its model; empty where nothing named one."""
        return self._judges

    def with_models(self, models: Mapping[str, str]) -> Family:
        """``models``: which model a name of config/models.yaml means, as a hash; STUDENT for what is none."""
        copy = self.model_copy()
        copy._students = frozenset(name for name in self.model.tiers if models.get(name) == STUDENT)
        if self.judge is not None:
            copy._judges = {name: models[name] for name in self.judge.members if name in models}
        return copy

    @property
    def served_tiers(self) -> tuple[str, ...]:
        """``model.tiers`` without what a study has to teach first, which no version of the file can name."""
        return tuple(name for name in self.model.tiers if name not in self._students)

    @property
    def student_alone(self) -> bool:
        """Whether a student is to answer alone: ``model.default`` is asked for audits, and until one is taught."""
        return bool(self._students) and not self.served_tiers

    @property
    def searched_tiers(self) -> tuple[str, ...]:
        """The tiers whose answers a study of thresholds compares."""
        return (*self.model.tiers, self.model.default) if self.student_alone else self.model.tiers

    def variant(self, version: str | None = None) -> Variant:
        """The Variant of a prompt version (default: ``prompt.current``).

        Raises NotFound for a version that the file does not have.
        """
        wanted = version or self.prompt.current
        prompt_version = self.prompt.versions.get(wanted)
        if prompt_version is None:
            known = ", ".join(self.prompt.versions) or "none, since a family of kind policy needs no prompt"
            raise NotFound(
                f"Family {self.name!r} has no prompt version {wanted!r}; its file has {known}.",
                family=self.name,
                version=wanted,
            )
        return kind_of(self).variant(self, prompt_version)

    def bases(self) -> tuple[Variant, ...]:
        """The base prompts by size, each once; none where the file declares none."""
        declared = self.prompt.by_size
        return tuple(self.variant(name) for name in declared.names()) if declared is not None else ()

    def declared_inputs(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """What of an input the file declares."""
        return {name: input[name] for name in self.inputs if name in input}

    def input_fault(self, input: Mapping[str, Any], *, may_be_empty: bool = False) -> str | None:
        """Why nothing can be learned from this input, a value for each name; None where it can. It quotes no value."""
        none = (None,) if may_be_empty else (None, "")
        missing = [name for name in self.inputs if input.get(name) in none]
        if missing:
            return f"the input {missing[0]!r} is missing" + ("" if may_be_empty else " or empty")
        unknown = [name for name in input if name not in self.inputs]
        if unknown:
            return f"the family has no input {unknown[0]!r}" + did_you_mean(unknown[0], self.inputs)
        wrong = [n for n, declared in self.inputs.items() if declared.type == "text" and not isinstance(input[n], str)]
        return f"the input {wrong[0]!r} is no text" if wrong else None

    def example_faults(self, variant: Variant) -> list[Fault]:
        """Few-shot examples of a Variant that lack an input, or have another; null is no input."""
        known = ", ".join(self.inputs)
        inputs = [[name for name, value in example.input.items() if value is not None] for example in variant.examples]
        return [
            Fault(pointer=f"/examples/{i}/input", detail=f"has {', '.join(names) or 'nothing'}; needed: {known}")
            for i, names in enumerate(inputs)
            if set(names) != set(self.inputs)
        ]

    @property
    def own_functions(self) -> frozenset[str]:
        """The functions with which the file lets a gate score. A gate imports no dotted path but these."""
        named = [version.policy.get("gate.scorer") for version in self.prompt.versions.values()]
        named += self.space.get("policy.gate.scorer", {}).get("choices", ())
        return frozenset(name for name in named if isinstance(name, str))

    @property
    def metrics(self) -> Mapping[str, float]:
        """Weights of the metrics; where the file names none, the one that suits its kind."""
        weights = {name: use.weight if isinstance(use, MetricUse) else use for name, use in self.scorer.items()}
        return weights or kind_of(self).default_metrics(self)

    @property
    def needs_expected(self) -> bool:
        """Whether an example has to have an expected output to be scored."""
        return any(name not in METRICS.built_in or METRICS.built_in[name].needs_expected for name in self.metrics)

    @property
    def metric_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """Metric -> the parameters that the file gives it; metrics without any are left out."""
        uses = {name: use for name, use in self.scorer.items() if isinstance(use, MetricUse)}
        return {name: use.parameters for name, use in uses.items() if use.parameters}

    @property
    def optional_metrics(self) -> Mapping[str, str]:
        """Optional metric -> the part of the expected output that it needs."""
        uses = {name: use for name, use in self.scorer.items() if isinstance(use, MetricUse) and use.optional}
        return {name: str(use.parameters["key"]) for name, use in uses.items() if "key" in use.parameters}


class FamilyKind(Protocol):
    """What a kind of family answers; everything else asks it, and compares no names.

    Stateless: everything it needs to know of a family it is given. What a kind answers about its studies with the store
    at hand is ``optimizer/jobs/studies/kinds/kind.py``.
    """

    asks_models: (
        bool  # True: texts are quoted, paid for, reviewed and timed; False: Variants are replayed on recorded examples
    )
    runs_pipeline: bool  # a Variant is a configuration of the content pipeline, which the environment may override
    may_lack_inputs: bool  # an example need not have every input: what is missing was not measured

    # its file and its Variants
    default_space: Mapping[str, Mapping[str, Any]]

    def declared_faults(self, data: Mapping[str, Any]) -> Iterable[Fault]:
        """What is wrong with the plain data of a family, beyond the rules of every kind."""

    def variant(self, family: Family, version: PromptVersion) -> Variant:
        """What a version of the file serves."""

    def variant_faults(self, family: Family, variant: Variant) -> list[Fault]:
        """What is wrong with a Variant that a person made, with pointers into its content."""

    # its examples
    def default_metrics(self, family: Family) -> Mapping[str, float]:
        """What scores where the file names no metric."""

    def example_fault(self, family: Family, input: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
        """Why an imported row cannot be an example; None where it can.

        Many rows may share the sentence, and it quotes no value.
        """

    def check_correction(self, family: Family, input: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
        """Raises InvalidInput where nothing can be learned from a correction.

        It has the family's output; ``input`` None: sent without one.
        """

    def kept_of(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """What of an example's input is stored."""

    # its studies
    def default_strategy(self, family: Family, *, is_moved: bool = False) -> str:
        """Of studies that name none; ``is_moved``: another model is to take the champion's place."""

    def strategy_fault(self, names: Sequence[str]) -> str | None:
        """Why these strategies cannot search it, as the end of a sentence; None where they can."""

    def study_sizes(self, family: Family, names: Sequence[str]) -> Mapping[str, int]:
        """Default sizes for a study's definition, by what an example costs."""


KindClass = TypeVar("KindClass", bound=Callable[[], FamilyKind])
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRecord(Generic[K]):
    """What a kind makes, by its ``kind`` in family.yaml; ``make`` is called once."""

    make: Callable[[], K] = field(kw_only=False)
    name: str = ""


kind: Callable[..., Callable[[KindClass], KindClass]] = declares(KindRecord)
KINDS: Registry[KindRecord[FamilyKind]] = Registry("detent.kinds", "kind", KindRecord)


def kind_of(family: Family) -> FamilyKind:
    return _named(family.kind)


def declared_kind(data: Mapping[str, Any]) -> FamilyKind | None:
    """The kind that plain data of a family names; None where it names no known one."""
    name = data.get("kind", "prompt")
    return _named(name) if isinstance(name, str) and name in KINDS else None


@cache
def _named(name: str) -> FamilyKind:
    return KINDS[name].make()


def mask_of(family: Family | None) -> Callable[[Any], Any] | None:
    """What is done to texts of examples before they are shown: it answers None for what a user's own expression does
    not get through in time. None where they may not be, for only metadata is kept or no rule is known.
    """
    if family is None or family.privacy.store == "metadata":
        return None
    masker = Masker(family.privacy.rules)

    def mask(value: Any) -> Any:
        with suppress(MaskTooSlow):
            return masker.mask(value)

    return mask
