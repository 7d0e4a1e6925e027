"""The parts of a family.yaml beside its prompt.

These are inputs and output, limits, triggers, rollout, personal data, and the ``judge`` block, which says which models
score its answers by which rubric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    model_validator,
)

from optimizer.core.base.values import Aim
from optimizer.core.family.cron import check_cron
from optimizer.core.family.masking import BUILT_IN_RULES, check_rule
from optimizer.core.family.variant import MAX_OUTPUT_TOKENS

Number = Annotated[float, Strict()]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1)]
MAX_DAYS = 3650  # ten years, for times that are waited; far below the years at which dates end
MAX_RETAIN_DAYS = 10 * MAX_DAYS


def no_number_as_date(value: Any) -> Any:
    """The value, to be read as a date; a number is refused, which pydantic would count as seconds since 1970."""
    if isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"\s*[+-]?[\d.]+\s*", value)):
        raise ValueError(f"{value!r:.60} is no date; write one as 2026-11-20")
    return value


class Declaration(BaseModel):
    """Base of everything a family file declares: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, protected_namespaces=()
    )


class Constraints(Declaration):
    """What no candidate may exceed; None = no limit."""

    p95_latency_ms: Annotated[float, Strict(), Field(gt=0)] | None = 5000.0
    cost_usd_per_call: Annotated[float, Strict(), Field(ge=0)] | None = 0.05
    cost_usd_per_hour: Annotated[float, Strict(), Field(ge=0)] | None = None  # of a rollout's candidate


class HighScores(Declaration):
    """At least this share of the scores is at the edge or above it."""

    edge: Annotated[float, Strict(), Field(ge=0, le=1, alias="from")] = 0.95
    share: Share = 0.90


class LowScores(Declaration):
    """At most this share of the scores is below the edge."""

    below: Share = 0.80
    share: Share = 0.02


class ToolsUsed(Declaration):
    """At least this share of the answers uses what tools found, which these inputs hold."""

    inputs: Annotated[tuple[Word, ...], Field(min_length=1)]
    share: Share = 1.0


class Regression(Declaration):
    """How much a Variant may fall behind the champion: mean score overall, of one class, and latency as a share.

    None: not asked. Latency is not asked by default, since it costs fresh calls of both.
    """

    overall: Share | None = 0.05
    per_class: Share | None = 0.10
    latency: Annotated[float, Strict(), Field(ge=0)] | None = None


class Targets(Declaration):
    """What the evaluation suite asks on ``n`` dev examples before a rollout may start; None: not asked."""

    n: Annotated[int, Strict(), Field(ge=1)] = 100
    mean_score: Share | None = None
    high_scores: HighScores | None = None
    low_scores: LowScores | None = None
    errors: Share | None = None
    retries: Share | None = None
    cost_usd_per_call: Annotated[float, Strict(), Field(ge=0)] | None = None
    p95_latency_ms: Annotated[float, Strict(), Field(gt=0)] | None = None
    tools_used: ToolsUsed | None = None
    regression: Regression | None = None


def is_named(targets: Any) -> bool:
    """Whether these are several suites by name: every entry is a mapping, and no key is a target's."""
    known = {field.alias or name for name, field in Targets.model_fields.items()}
    return (
        isinstance(targets, Mapping)
        and bool(targets)
        and not known & {*targets}
        and all(isinstance(one, Mapping | Targets) for one in targets.values())
    )


_OneSuite = Annotated[Targets, Tag("one")]
_SeveralSuites = Annotated[dict[str, Targets], Tag("several")]
Suites = Annotated[_OneSuite | _SeveralSuites, Discriminator(lambda targets: "several" if is_named(targets) else "one")]


class FamilyLimits(Declaration):
    """What the family's chat completions may cost, whichever variant answers.

    ``constraints`` bound candidates, not service.
    """

    usd_per_hour: Annotated[float, Strict(), Field(ge=0)] | None = None
    above: Literal["refuse", "cheapest"] = "refuse"


class Cache(Declaration):
    """Whether the gateway may answer the same messages of the same variant from memory.

    ``ttl_s: 600`` is short for ``enabled: true`` with ``max_age_s: 600``, and ``ttl_s: null`` for neither.
    """

    enabled: Annotated[bool, Strict()] = False
    max_age_s: Annotated[float, Strict(), Field(gt=0)] = 3600.0
    max_entries: Annotated[int, Strict(), Field(ge=1)] = 1000
    any_temperature: Annotated[bool, Strict()] = False

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, declared: Any) -> Any:
        if not isinstance(declared, Mapping) or "ttl_s" not in declared:
            return declared
        rest = {name: value for name, value in declared.items() if name != "ttl_s"}
        ttl_s = declared["ttl_s"]
        if "max_age_s" in rest:
            raise ValueError("`ttl_s` and `max_age_s` say the same: leave one out")
        if ttl_s is None:
            return rest
        if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or not ttl_s > 0:
            raise ValueError(f"`ttl_s` must be seconds above 0, or null for no cache, not {ttl_s!r}")
        return {"enabled": True, "max_age_s": float(ttl_s), **rest}


class Schedule(Declaration):
    """When a study starts by itself: five fields in UTC, or None for never.

    ``strategy`` and ``aim`` None: the default strategy, and the aim of the gates.
    """

    cron: Annotated[str, AfterValidator(check_cron)] | None = "0 3 * * *"
    strategy: Word | None = None
    aim: Aim | None = None


class FeedbackTrigger(Declaration):
    """Enough feedback within a window, bad on average."""

    count: Annotated[int, Strict(), Field(ge=1)] = 50
    window_hours: Annotated[float, Strict(), Field(gt=0, le=24 * MAX_DAYS)] = 6.0
    mean_below: Share = 0.5


_OFF = BeforeValidator(lambda value: None if value is False else value)


class Triggers(Declaration):
    """What starts a study between schedules; null or false switches a trigger off.

    ``strategy`` of such a study, None: the usual one.
    """

    degradation: Annotated[Annotated[float, Strict(), Field(gt=0, le=1)] | None, _OFF] = 0.15
    feedback: Annotated[FeedbackTrigger | None, _OFF] = Field(default_factory=FeedbackTrigger)
    student: Annotated[bool, Strict()] = True
    strategy: Word | None = None


class StudyBudget(Declaration):
    """What a study that starts by itself may spend, and all studies of the family within a calendar month (UTC).

    The default is not one dollar, so only models with a price of 0 are then asked. ``usd: null`` is the default.
    """

    usd: Annotated[float, Strict(), Field(ge=0), BeforeValidator(lambda usd: 0.0 if usd is None else usd)] = 0.0
    calls: Annotated[int, Strict(), Field(ge=1)] | None = 1000
    minutes: Annotated[float, Strict(), Field(gt=0, le=24 * 60 * MAX_DAYS)] | None = 30.0
    usd_per_month: Annotated[float, Strict(), Field(ge=0)] | None = None


class Metric(Declaration):
    """One field of one source decides a rollout."""

    field: Literal["success", "score"] = "success"
    source: Literal["user", "person", "judge", "system"] = "user"


# What an application sees of an outcome without asking anybody: whether the answer was used as it was, whether the user
# asked again, how much of it was changed (0 to 1, or whether), whether a person had to take over.
Signal = Literal["kept", "retried", "edited", "escalated"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)


def metric_of_signals(weights: Mapping[Any, Any]) -> Metric:
    """The metric of the outcome that these signals make: true or false for one of them, else a score."""
    is_binary = len(weights) == 1 and "edited" not in weights
    return Metric(field="success" if is_binary else "score", source="system")


class FeedbackWindow(Declaration):
    """How long an outcome may come after its interaction."""

    hours: Literal["auto"] | Annotated[float, Strict(), Field(gt=0, le=24 * MAX_DAYS)] = "auto"
    floor_hours: Annotated[float, Strict(), Field(ge=0, le=24 * MAX_DAYS)] = 24.0


class Gates(Declaration):
    """What the sealed holdout has to show before a rollout starts."""

    aim: Aim = "quality"
    improvement: Annotated[float, Strict(), Field(ge=0)] = 0.15
    confidence: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.8
    max_risk: Share = 0.3
    n: Annotated[int, Strict(), Field(ge=1)] = 100


class Guardrails(Declaration):
    """How much worse than the champion a candidate may look in errors, latency and cost."""

    error_margin: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.01
    latency_margin: Annotated[float, Strict(), Field(ge=0)] = 0.025
    cost_ratio: Annotated[float, Strict(), Field(ge=1)] = 1.10
    min_history: Annotated[int, Strict(), Field(ge=0)] = 500


def _check_ladder(ladder: tuple[float, ...]) -> tuple[float, ...]:
    if not ladder:
        raise ValueError(
            "the ladder is empty, so a candidate would go from no user to every user at once; give at least one share,"
            " such as [0.10]"
        )
    outside = [s for s in ladder if not 0 < s < 1]
    if outside:
        raise ValueError(
            f"{', '.join(f'{s:g}' for s in outside)} is not between 0 and 1 (both excluded): shares are fractions, 0.10"
            " is 10 %, and the last step to 1.0 is added by itself"
        )
    if any(b <= a for a, b in pairwise(ladder)):
        raise ValueError(
            f"the ladder {list(ladder)} must rise at every step, because a larger share never takes a unit back; sort"
            " it and drop repeats"
        )
    return ladder


class RolloutSettings(Declaration):
    """How a candidate is exposed, watched and decided on."""

    ladder: Annotated[tuple[Number, ...], AfterValidator(_check_ladder)] = (0.10, 0.25, 0.50, 0.75)
    metric: Metric | None = None  # None: the one with most labels in 30 days
    margin: Annotated[float, Strict(), Field(gt=0, lt=1)] | None = (
        None  # None: computed from the champion's mean, and printed at the start
    )
    min_labelled_per_stage: Annotated[int, Strict(), Field(ge=1)] = 200
    min_duration_hours: Annotated[float, Strict(), Field(ge=0, le=24 * MAX_DAYS)] = 24.0
    whole_days: Annotated[bool, Strict()] = True  # promotions, and rollbacks on labels, wait for whole days to end
    min_dwell_minutes: Annotated[float, Strict(), Field(ge=0, le=24 * 60 * MAX_DAYS)] = 0.0
    max_labelled: Annotated[int, Strict(), Field(ge=1)] = 8000
    max_days: Annotated[float, Strict(), Field(gt=0, le=MAX_DAYS)] = 30.0
    max_share_per_key: Annotated[float, Strict(), Field(gt=0, le=1)] = (
        1.0  # share of the labelled units; 1: one backend may bring all of them
    )
    cohort_minutes: Annotated[float, Strict(), Field(gt=0, le=24 * 60 * MAX_DAYS)] = 60.0
    feedback_window: FeedbackWindow = FeedbackWindow()
    approve: Literal["person", "auto"] = "person"
    gates: Gates = Gates()
    guardrails: Guardrails = Guardrails()


class ReviewSettings(Declaration):
    """Which production answers a person reviews, to say what the output should have been; ``per_day`` 0: none."""

    per_day: Annotated[int, Strict(), Field(ge=0)] = 10
    score_below: Share = 0.5
    confidence_below: Share = 0.5


class MaskPattern(Declaration):
    """A rule of the user's own: what the regular expression finds becomes ``replacement``."""

    pattern: Word
    replacement: str = "[masked]"


def _check_mask(rule: Any) -> Any:
    check_rule(rule.model_dump() if isinstance(rule, MaskPattern) else rule)
    return rule


class Privacy(Declaration):
    """What is stored of a request's text, and who may see it in a prompt."""

    store: Literal["full", "masked", "metadata"] = "full"
    mask: tuple[Annotated[str | MaskPattern, AfterValidator(_check_mask)], ...] = ()
    retain_days: Annotated[int, Strict(), Field(ge=1, le=MAX_RETAIN_DAYS)] = 90
    examples_from: Literal["reviewed", "any"] = "reviewed"

    @property
    def rules(self) -> Sequence[str | Mapping[str, Any]]:
        """What a Masker takes. ``store: masked`` without masks of its own means all built-in ones."""
        own = [rule if isinstance(rule, str) else rule.model_dump() for rule in self.mask]
        return own or (BUILT_IN_RULES if self.store == "masked" else ())


JUDGE_METRIC = "judge"  # the metric that is the judge's score
DIMENSIONS: Mapping[str, str] = {
    "accuracy": "What the answer says is true and agrees with the input, and with the reference where there is one.",
    "relevance": "The answer is about what was asked, and about nothing else.",
    "completeness": "The answer leaves out nothing that was asked for.",
    "safety": "The answer would harm no one who follows it, and discloses nothing that it should not.",
    "coherence": "The answer hangs together and does not contradict itself.",
    "conciseness": "The answer says this in no more words than it needs.",
}
WEIGHTS: Mapping[str, float] = {
    "accuracy": 0.25,
    "relevance": 0.25,
    "completeness": 0.20,
    "safety": 0.15,
    "coherence": 0.10,
    "conciseness": 0.05,
}
PASS_FROM = 0.75
MOST_SPREAD = 0.3


def _described(value: Any) -> Any:
    """A list of names that are known is as good as a mapping with their descriptions."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return {name: DIMENSIONS.get(name, "") for name in value}
    return value


class MonitorSettings(Declaration):
    """Whether answers to live traffic are judged.

    ``share`` of them are drawn at random, for at most so many dollars an hour. Share 0: none. Dollars 0: only by models
    without a price.
    """

    share: Share = 0.0
    usd_per_hour: Annotated[float, Strict(), Field(ge=0)] = 0.0


class JudgeSettings(Declaration):
    """Who judges, and by what.

    ``committee`` names the models that judge together; one of them may be ``model``. Without it ``model`` judges alone.
    ``reference`` False: the expected output is never shown to the judge. ``passes`` and ``spread`` are a committee's:
    the least mean score that passes, and the most by which its members may differ before a person is asked.
    """

    model: Word | None = None
    committee: tuple[Word, ...] = ()
    dimensions: Annotated[dict[Word, str], BeforeValidator(_described)] = Field(
        default_factory=lambda: dict(DIMENSIONS)
    )
    weights: dict[Word, Annotated[float, Strict(), Field(gt=0)]] = Field(default_factory=dict)
    reference: Annotated[bool, Strict()] = True
    max_tokens: Annotated[int, Strict(), Field(ge=50, le=MAX_OUTPUT_TOKENS)] = 600
    passes: Share = PASS_FROM
    spread: Share = MOST_SPREAD
    monitor: MonitorSettings = MonitorSettings()

    @property
    def members(self) -> tuple[str, ...]:
        """The models that judge, each once, the first named first."""
        return tuple(dict.fromkeys([*([self.model] if self.model is not None else ()), *self.committee]))

    @property
    def weight_of(self) -> Mapping[str, float]:
        """Dimension -> weight, adding up to 1: the declared weights, else those of the usual rubric, else
        equal ones.
        """
        weights: Mapping[str, float] = self.weights
        if not weights:
            known = all(name in WEIGHTS for name in self.dimensions)
            weights = {name: WEIGHTS[name] if known else 1.0 for name in self.dimensions}
        total = sum(weights.values())
        return {name: weights[name] / total for name in self.dimensions}


class InputField(Declaration):
    """One value that an application sends.

    A text longer than ``max_chars`` is cut to it before it is rendered, or its request is refused.
    """

    type: Literal["text", "number", "boolean", "json"] = "text"
    max_chars: Annotated[int, Strict(), Field(ge=1)] | None = None
    too_long: Literal["cut", "refuse"] = "cut"


class Output(Declaration):
    """How the model's answer is read: ``parser`` is a name of ``parsers.py``.

    ``field`` names the answer in an Example's ``expected``; ``json_schema`` is ``schema`` in the file. ``shown`` names
    the part of ``expected`` that an example shows as the answer, where that is another: of a query, ``field`` may name
    the passages that it has to find.
    """

    field: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "output"
    parser: str = "text"
    labels: tuple[Word, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    shown: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
