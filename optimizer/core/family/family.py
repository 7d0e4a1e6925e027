"""A Family: one task with its prompt, as ``families/<name>/family.yaml`` declares it. docs/reference/family.md lists
every key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

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

from optimizer.core.base.errors import Fault, NotFound
from optimizer.core.family.fields import InputField, Output
from optimizer.core.family.generation_settings import MAX_OUTPUT_TOKENS
from optimizer.core.family.golden import GoldenRow
from optimizer.core.family.judge_settings import JudgeSettings
from optimizer.core.family.kind import KindName, kind_of
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.settings import (
    Cache,
    Constraints,
    Declared,
    FamilyLimits,
    Privacy,
    ReviewSettings,
    RolloutSettings,
    Schedule,
    StudyBudget,
    Suites,
    Triggers,
    Word,
)
from optimizer.core.family.space_form import DEFAULT_SPACE
from optimizer.core.family.variant import Message, Variant

NAME = re.compile(r"^[a-z][a-z0-9_]{1,62}$")


class PromptVersion(Declared):
    """One version of the prompt; versions are kept, so that what served last month can still be read."""

    created_at: date | datetime | None = None
    description: str = ""
    content: tuple[Message, ...] = ()  # of a prompt at least one message, of a policy none: see family_rules
    tools: tuple[dict[str, Any], ...] | None = None
    response_format: dict[str, Any] | None = None
    policy: dict[str, Any] = Field(default_factory=dict)


class BaseVersions(Declared):
    """The version that is the base for models of each size."""

    small: Word
    medium: Word
    large: Word

    def names(self) -> tuple[str, ...]:
        """Each version once, from small to large."""
        return tuple(dict.fromkeys((self.small, self.medium, self.large)))


class Prompt(Declared):
    """All versions, and which of them the file means. What is served is the store's champion.

    Where the file has ``by_size`` and no ``current``, current is the base for the size of the default model.
    """

    current: Word
    by_size: BaseVersions | None = None
    versions: dict[str, PromptVersion] = Field(default_factory=dict)


def _no_stop_as_none(value: Any) -> Any:
    return value or None


class FamilyModels(Declared):
    """Names from config/models.yaml and the parameters of a call.

    ``proposer`` None: the default model proposes. ``tiers``, the models of a cascade in the order they are asked: the
    default model alone. More than one become the Variant's ``policy.tiers``.
    """

    default: Word = "embedded"
    proposer: Word | None = None
    tiers: tuple[Word, ...] = ("embedded",)
    temperature: Annotated[float, Strict(), Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Strict(), Field(ge=1, le=MAX_OUTPUT_TOKENS)] = 256
    stop: Annotated[list[Word] | None, BeforeValidator(_no_stop_as_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _default_is_the_only_tier(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "tiers" not in data and isinstance(data.get("default"), str):
            return {**data, "tiers": [data["default"]]}
        return data


class Sample(Declared):
    """How examples are drawn.

    ``balance`` names a field of ``expected``: its classes are drawn in turn, equally often.
    """

    balance: Word | None = None


Weight = Annotated[float, Strict(), Field(gt=0)]


class MetricUse(BaseModel):
    """A metric with parameters of its own, by name beside its weight; ``metrics.py`` knows which it takes.

    ``optional``: it counts only for examples whose expected output is an object that has its ``key``.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    weight: Weight
    optional: Annotated[bool, Strict()] = False

    @property
    def parameters(self) -> Mapping[str, Any]:
        return dict(self.model_extra or {})


def _form_of_use(value: Any) -> str:
    return "with parameters" if isinstance(value, Mapping | MetricUse) else "weight alone"


_WeightAlone = Annotated[Weight, Tag("weight alone")]
_WithParameters = Annotated[MetricUse, Tag("with parameters")]
Use = Annotated[_WeightAlone | _WithParameters, Discriminator(_form_of_use)]


class Family(Declared):
    """One task: what goes in and comes out, its prompt versions, how answers are scored, what may vary,
    how candidates are exposed.
    """

    name: Annotated[str, Field(pattern=NAME.pattern)]
    description: str = ""
    kind: KindName = "prompt"
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
    rollout: RolloutSettings = RolloutSettings()
    privacy: Privacy = Privacy()
    review: ReviewSettings = ReviewSettings()
    _golden: tuple[GoldenRow, ...] = PrivateAttr(default=())  # of a file of its own: no key of family.yaml
    _judges: Mapping[str, str] = PrivateAttr(default_factory=dict)  # which models judge, as config/models.yaml says

    @property
    def golden(self) -> tuple[GoldenRow, ...]:
        """The golden scenarios that stand in golden.jsonl beside the family's file."""
        return self._golden

    def with_golden(self, rows: tuple[GoldenRow, ...]) -> Family:
        copy = self.model_copy()
        copy._golden = rows
        return copy

    @property
    def judges(self) -> Mapping[str, str]:
        """By name of a member of the judge: which model that is; empty where nothing said it."""
        return self._judges

    def with_models(self, models: Mapping[str, str]) -> Family:
        """``models``: which model a name of config/models.yaml means, as a hash."""
        if self.judge is None:
            return self
        copy = self.model_copy()
        copy._judges = {name: models[name] for name in self.judge.members if name in models}
        return copy

    def variant(self, version: str | None = None) -> Variant:
        """The Variant of a prompt version (default: ``prompt.current``);
        raises NotFound for a version the file does not have.
        """
        wanted = version or self.prompt.current
        found = self.prompt.versions.get(wanted)
        if found is None:
            known = ", ".join(self.prompt.versions) or "none, since a family of kind policy needs no prompt"
            raise NotFound(
                f"Family {self.name!r} has no prompt version {wanted!r}; its file has {known}.",
                family=self.name,
                version=wanted,
            )
        return kind_of(self).variant(self, found)

    def bases(self) -> tuple[Variant, ...]:
        """The base prompts by size, each once; none where the file declares none."""
        declared = self.prompt.by_size
        return tuple(self.variant(name) for name in declared.names()) if declared is not None else ()

    def declared_inputs(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """What of an input the file declares."""
        return {name: input[name] for name in self.inputs if name in input}

    def example_faults(self, variant: Variant) -> list[Fault]:
        """Few-shot examples of a Variant that lack an input, or have another."""
        known = ", ".join(self.inputs)
        return [
            Fault(
                pointer=f"/examples/{i}/input", detail=f"has {', '.join(example.input) or 'nothing'}; needed: {known}"
            )
            for i, example in enumerate(variant.examples)
            if set(example.input) != set(self.inputs)
        ]

    @property
    def own_functions(self) -> frozenset[str]:
        """What the file lets a gate score with: the dotted paths among them are the only ones
        that are ever imported for a gate.
        """
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
        """By metric, the parameters that the file gives it; metrics without any are left out."""
        uses = {name: use for name, use in self.scorer.items() if isinstance(use, MetricUse)}
        return {name: use.parameters for name, use in uses.items() if use.parameters}

    @property
    def optional_metrics(self) -> Mapping[str, str]:
        """By metric that may be left out, the part of the expected output without which it is."""
        uses = {name: use for name, use in self.scorer.items() if isinstance(use, MetricUse) and use.optional}
        return {name: str(use.parameters["key"]) for name, use in uses.items() if "key" in use.parameters}
