"""An evaluation outside a study as it is told: what is kept of it, what was compared, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optimizer.core.evaluation.judging.report import JudgeReport
from optimizer.core.evaluation.label_report import LabelReport
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
class EvaluationReport:
    """``batch`` is what is kept.

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

    batch: EvaluationBatch
    scenarios: Sequence[ScenarioScores] | None
    labels: LabelReport | None
    trivial_baselines: TrivialBaselines | None
    judge: JudgeReport | None
    judgements: Mapping[str, Mapping[str, Any]]
    n_calls_in_all: int
    spent_usd: float | None
    beside: str | None
    suite_name: str | None
    n_wanted: int | None
    truncated: Mapping[str, int]
    n_refused: int
    timing: TimingFigures | None
    commonest_error: str | None

    def as_data(self) -> dict[str, Any]:
        """As one document, without the members of what was not asked for."""
        data = {**asdict(self.batch), **asdict(self)}
        del data["batch"]
        if self.judge is not None:
            data["judge"]["said"] = self.judge.said
        return {name: value for name, value in data.items() if name not in self._absent}

    @property
    def _absent(self) -> set[str]:
        return {
            *(("suite", "checks", "scenarios") if self.batch.checks is None else ()),
            *(("judge", "judgements") if self.judge is None else ()),
            *(name for name in ("trivial_baselines", "truncated", "n_refused") if not getattr(self, name)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A suite that could not be measured."""

    suite: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitesReport:
    """Evaluations of one Variant, suite by suite. ``champion``: id of what serves; None: nothing does."""

    family: str
    variant: str
    champion: str | None
    suites: Sequence[EvaluationReport]
    not_measured: Sequence[NotMeasured] = ()

    @property
    def verdict(self) -> TargetVerdict | None:
        """Of all together; None where nothing was checked."""
        verdicts = {check.verdict for one in self.suites for check in one.batch.checks or ()}
        worst_first: tuple[TargetVerdict, ...] = ("missed", "unmeasured", "undecided", "met")
        return next(
            (one for one in worst_first if one in verdicts or (one == "unmeasured" and self.not_measured)), None
        )

    def as_data(self) -> dict[str, Any]:
        """As one document."""
        return {
            "family": self.family,
            "variant": self.variant,
            "champion": self.champion,
            "verdict": self.verdict,
            "suites": [one.as_data() for one in self.suites],
            "not_measured": [asdict(one) for one in self.not_measured],
        }
