"""The metric ``judge``: what a judgement that was made before says, as a score."""

from __future__ import annotations

from dataclasses import replace

from optimizer.core.evaluation.judging.identity import judge_identity
from optimizer.core.evaluation.judging.judgement import Judgement
from optimizer.core.family.family import Family
from optimizer.core.family.judge_settings import SCORER
from optimizer.core.family.metrics import METRICS, MetricRecord, metric


class NotJudged(Exception):
    """A judgement is missing, or has no score; the sentence says why."""


@metric(name=SCORER, sees="judgement", needs_expected=False)
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
    """Its version is the judge's identity: scores of two judges are never compared. Raises InvalidInput where the
    family has no judge.
    """
    return replace(METRICS[SCORER], version=judge_identity(family))
