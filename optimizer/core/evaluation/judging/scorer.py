"""The metric ``judge``: what a judgement that was made before says, as a score."""

from __future__ import annotations

from optimizer.core.evaluation.judging.identity import judge_identity
from optimizer.core.evaluation.scoring import ScoringMetric
from optimizer.core.family.family import Family
from optimizer.core.family.judge_settings import SCORER


def judge_metric(family: Family) -> ScoringMetric:
    """Its version is the judge's identity: scores of two judges are never compared. Raises InvalidInput where the
    family has no judge.
    """
    return ScoringMetric(name=SCORER, version=judge_identity(family), is_judged=True, needs_expected=False)
