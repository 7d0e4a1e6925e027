"""An evaluation outside a study: what a worker was asked for, what is kept of it, what was compared, what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from typing_extensions import TypedDict

from optimizer.core.base.answers import Json, Text
from optimizer.core.evaluation.judging.report import JudgeReport
from optimizer.core.evaluation.label_report import LabelReport
from optimizer.core.evaluation.run import QueuedRun
from optimizer.core.evaluation.suite import EvaluationBatch, TargetVerdict
from optimizer.core.evaluation.trivial_baselines import TrivialBaselines


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioScores:
    """Mean scores on the ``n`` rows of a golden scenario, of the Variant and of the champion beside it; None without
    a scored one.
    """

    scenario: str
    n: int
    score: float | None
    champion: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingFigures:
    """Of ``n`` fresh answers. ``slowdown``: a share of the champion's latency. ``why``: what kept times from being
    measured.
    """

    n: int
    p95_ms: float | None
    slowdown: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport(EvaluationBatch):
    """The batch that is kept, and what is told with it.

    Args:
        scenarios: of golden rows alone.
        labels: None in a family whose answers are no labels.
        trivial_baselines: what answers without a model score on the same examples; None for golden rows.
        judge: None where no judge scores. ``judgements``: by example.
        n_calls_in_all: the champion's among them. ``spent_usd``: None where a model has no known price.
        beside: id of the champion, where it was asked the same.
        suite_name: None where nothing was checked.
        n_wanted: as in EvaluationPlan. ``truncated`` and ``n_refused``: as a dataset has them.
        timing: None: nothing was timed.
    """

    scenarios: Sequence[ScenarioScores] | None
    labels: Text[LabelReport | None]
    trivial_baselines: TrivialBaselines | None
    judge: JudgeReport | None
    judgements: Text[Mapping[str, Mapping[str, Json]]]
    n_calls_in_all: int
    spent_usd: float | None
    beside: str | None
    suite_name: str | None
    n_wanted: int | None
    truncated: Mapping[str, int]
    n_refused: int
    timing: TimingFigures | None
    commonest_error: Text[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A suite that could not be measured."""

    suite: str
    why: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitesReport:
    """Evaluations of one Variant, suite by suite.

    Args:
        champion: id of what serves; None: nothing does.
        verdict: of all together; None where nothing was checked.
        family_suites: every suite of the family, and how many dev examples or golden rows it asks.
    """

    family: str
    variant: str
    champion: str | None
    verdict: TargetVerdict | None
    suites: Sequence[EvaluationReport]
    not_measured: Sequence[NotMeasured]
    family_suites: Mapping[str, int]


def worst_verdict(suites: Sequence[EvaluationReport], not_measured: Sequence[NotMeasured]) -> TargetVerdict | None:
    """The worst verdict of all suites; None where nothing was checked."""
    verdicts = {check.verdict for one in suites for check in one.checks or ()}
    worst_first: tuple[TargetVerdict, ...] = ("missed", "unmeasured", "undecided", "met")
    return next((one for one in worst_first if one in verdicts or (one == "unmeasured" and not_measured)), None)


class EvaluationQuery(TypedDict):
    """``variant``: its id. ``suite``: as in EvaluationScope; full: every suite."""

    variant: str
    suite: str | None
    split: Literal["train", "dev"]
    n: int | None
    bare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun(QueuedRun):
    """One Variant on examples or golden scenarios; ``n``: answers of it and the champion at most."""

    kind: Literal["evaluate"] = "evaluate"
    request: EvaluationQuery
    result: SuitesReport | None = None
