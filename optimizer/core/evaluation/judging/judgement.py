"""What a judge says of one answer: each member's opinion, the committee's, and the metric ``judge`` over stored
judgements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import fsum
from typing import Any

from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.evaluation.judging.rubric import Scores
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import METRICS, MetricRecord, metric
from optimizer.core.family.settings import JUDGE_METRIC, JudgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberScore:
    """One member's score, in [0, 1]; None where it could not be measured, and then ``error`` says why."""

    model: str
    score: float | None = None
    dimensions: Mapping[str, float] = field(default_factory=dict)
    reasoning: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``signs``: names of what in the answer looks like words to its judge (``core/models/injection.py``).

    ``cost_usd``: of the calls that it took, which are no cost of the answer.
    """

    opinions: tuple[MemberScore, ...]
    signs: tuple[str, ...] = ()
    cost_usd: float = 0.0

    @property
    def _scores(self) -> list[float]:
        return [opinion.score for opinion in self.opinions if opinion.score is not None]

    @property
    def score(self) -> float | None:
        """The mean of the members; None unless every one could be measured: the mean of the others would be another
        judge's.
        """
        scores = self._scores
        return fsum(scores) / len(scores) if scores and len(scores) == len(self.opinions) else None

    @property
    def spread(self) -> float | None:
        """The highest member's score less the lowest; None with fewer than two."""
        scores = self._scores
        return max(scores) - min(scores) if len(scores) > 1 else None

    @property
    def error(self) -> str | None:
        """Why there is no score."""
        failed = [f"{opinion.model}: {opinion.error}" for opinion in self.opinions if opinion.score is None]
        return f"the judge could not be measured: {'; '.join(failed)}" if failed else None

    @property
    def reasoning(self) -> str:
        """What the members say, each after its name where there are several."""
        reasons = [(opinion.model, opinion.reasoning) for opinion in self.opinions if opinion.reasoning]
        return (
            reasons[0][1]
            if len(self.opinions) == 1 and reasons
            else "\n".join(f"{model}: {why}" for model, why in reasons)
        )

    def passes(self, judge: JudgeSettings) -> bool | None:
        """Whether the mean is high enough; None where it could not be measured."""
        return None if self.score is None else self.score >= judge.passes

    def needs_a_person(self, judge: JudgeSettings) -> bool:
        """Whether the members differ by more than the family allows, so that a person is asked."""
        return self.spread is not None and self.spread > judge.spread + 1e-9

    def as_data(self) -> dict[str, Any]:
        """Plain JSON values, of which ``of_members`` makes it again."""
        opinions = [asdict(opinion) for opinion in self.opinions]
        return {"score": self.score, "opinions": opinions, "signs": list(self.signs), "cost_usd": self.cost_usd}


def opinion_of(judge: JudgeSettings, model: str, scores: Scores) -> MemberScore:
    """The weighted mean of the dimensions as the member's score."""
    weights = judge.weight_of
    score = fsum(weights[name] * share for name, share in scores.dimensions.items())
    return MemberScore(
        model=model, score=min(1.0, max(0.0, score)), dimensions=scores.dimensions, reasoning=scores.reasoning
    )


class NotJudged(Exception):
    """A judgement is missing, or has no score; the sentence says why."""


@metric(name=JUDGE_METRIC, sees="judgement", needs_expected=False)
def judged_score(judgement: Judgement | None) -> float:
    """What the model or committee of the family's `judge` thinks of the answer, by its rubric.

    A study or an evaluation that uses it asks one call more for each answer and member, under the same cap.
    It needs no expected output.

    Raises:
        NotJudged: there is no judgement.
    """
    if judgement is None:
        raise NotJudged("the answer was not judged")
    if judgement.score is None:
        raise NotJudged(judgement.error or "the judge could not be measured")
    return judgement.score


def judge_metric(family: Family) -> MetricRecord:
    """The metric, whose version is the judge's identity: scores of two judges are never compared.

    Raises InvalidInput where the family has no judge.
    """
    return replace(METRICS[JUDGE_METRIC], version=judge_identity(family))
