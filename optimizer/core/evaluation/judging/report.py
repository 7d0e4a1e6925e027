"""What is reported with an evaluation by a judge: who judged, which answers it could not judge, and whether it may
decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from optimizer.core.base.answers import of_members
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.gates import JudgedRecord
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity, judge_of, why_uncalibrated
from optimizer.core.evaluation.judging.judgement import Judgement
from optimizer.core.family.family import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReport:
    """Counts are of answers.

    Args:
        n_passed: of a committee; None where one model judges alone.
        n_divided: on which the members differ so much that a person is asked.
        n_with_signs: with words that look as if they were for the judge.
        uncalibrated: why the judge may not decide; None where it may.
        said: all of it in one sentence or two.
    """

    judge: str
    members: tuple[str, ...]
    n_judged: int
    n_unmeasured: int
    n_passed: int | None
    n_divided: int
    n_with_signs: int
    uncalibrated: str | None
    said: str


def judged_scores(
    judge: str, calibration: Calibration | None, results: Mapping[str, Sequence[ExampleResult]]
) -> JudgedRecord:
    """The report on answers that this judge scored.

    Args:
        calibration: the latest of this judge, else of another one; None: there is none.
        results: by what they are called; those without a judgement are left out.
    """
    why = why_uncalibrated(judge, calibration)
    if why is not None or calibration is None:
        sentence = f"Scores are those of an uncalibrated judge, and no quality: {why}."
        return JudgedRecord(judge=judge, uncalibrated=why, agreement="", rated={}, extrapolated={}, said=sentence)
    scores_of = {
        name: [
            score
            for result in of
            if result.judgement is not None and (score := of_members(Judgement, result.judgement).score) is not None
        ]
        for name, of in results.items()
    }
    why_not = {name: calibration.why_extrapolated(scores) for name, scores in scores_of.items() if scores}
    n_ratings = count(calibration.n, "rating")
    agreement = f"follow people's ratings at a rank correlation of {calibration.spearman:.2f} on {n_ratings}"
    rated = {name: fmean(map(calibration.mapped, scores_of[name])) for name, why in why_not.items() if why is None}
    extrapolated = {name: why for name, why in why_not.items() if why is not None}
    sentences = [f"Scores are a judge's, which {agreement}."]
    if rated:
        sentences.append(f"People would rate {' and '.join(f'{name} {mean:.3f}' for name, mean in rated.items())}.")
    sentences += [
        f"What they would rate {name} would be extrapolated, so it is not shown: {why}."
        for name, why in extrapolated.items()
    ]
    return JudgedRecord(
        judge=judge,
        uncalibrated=None,
        agreement=agreement,
        rated=rated,
        extrapolated=extrapolated,
        said=" ".join(sentences),
    )


def judge_report(family: Family, results: Sequence[ExampleResult], calibration: Calibration | None) -> JudgeReport:
    """The report on an evaluation whose scorer takes judgements. Raises InvalidInput where the family has no judge."""
    judge, identity = judge_of(family), judge_identity(family)
    judgements = [of_members(Judgement, one.judgement) for one in results if one.judgement is not None]
    measured = [one for one in judgements if one.score is not None]
    n_passed = sum(bool(one.passes(judge)) for one in measured) if len(judge.members) > 1 else None
    n_unmeasured = len(judgements) - len(measured)
    n_divided = sum(one.needs_a_person(judge) for one in judgements)
    n_with_signs = sum(bool(one.signs) for one in judgements)
    why = why_uncalibrated(identity, calibration)
    parts = [f"Judged by {' and '.join(judge.members)} ({identity}): {count(len(measured), 'answer')}"]
    parts += [f"{n_unmeasured} not measured"] * bool(n_unmeasured)
    parts += [f"{n_passed} passed"] * (n_passed is not None)
    parts += [f"{n_divided} on which its members differ"] * bool(n_divided)
    parts += [f"{n_with_signs} that may speak to the judge"] * bool(n_with_signs)
    return JudgeReport(
        judge=identity,
        members=judge.members,
        n_judged=len(measured),
        n_unmeasured=n_unmeasured,
        n_passed=n_passed,
        n_divided=n_divided,
        n_with_signs=n_with_signs,
        uncalibrated=why,
        said=f"{', '.join(parts)}.{f' It never decides alone: {why}.' if why is not None else ''}",
    )
