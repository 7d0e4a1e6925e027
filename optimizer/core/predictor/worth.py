"""What a family's own examples say before a model is asked: how far answers without one get, and whether more labels
would take them further.

Every row is answered by what learned from the rows of the other folds. Rows of one group (a user, a dialogue, one text
nearly repeated) stand in one fold, so nothing is answered by who has seen it, and are drawn together for an interval.
The student is the one that a study would teach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from optimizer.core.base.canonical import digest
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example
from optimizer.core.dataset.near_duplicates import merged_groups
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.trivial_baselines import (
    FIRST,
    MAJORITY,
    NEAREST,
    NOT_JUDGED,
    TrivialBaseline,
    mean_baseline,
    mean_interval,
    score_answers,
    trivial_scores,
)
from optimizer.core.family.family import Family
from optimizer.core.predictor.teaching import fold_of, teaching_rows

if TYPE_CHECKING:
    from optimizer.core.predictor.student import LearnStudent  # it needs numpy, which few processes load

STUDENT = "student"
SHARES = (0.25, 0.5, 1.0)  # of what a fold may learn from; each doubles the one before
SMALL_GAIN = 0.02  # of the mean score: a doubling of the labels that gains less is hardly worth them
MOST_DOUBLINGS = 2  # that are foretold; beyond them nothing was seen

MoreLabels = Literal["pay", "hardly", "cannot_tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPoint:
    """A student that learned from ``n_train`` examples, on the mean of the folds; its mean score, 95 % interval."""

    n_train: int
    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubling:
    """What twice the labels gained, row by row: points of the mean score in [-1, 1], with their 95 % interval."""

    n_from: int
    n_to: int
    gain: float
    low: float
    high: float

    @property
    def more_labels(self) -> MoreLabels:
        if self.low > 0:
            return "pay"
        return "hardly" if self.high < SMALL_GAIN else "cannot_tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """Of ``n`` rows: each baseline, a student's learning curve from few to all labels, and its doublings.

    The curve and the doublings are empty where no student can learn.
    """

    n: int
    baselines: Sequence[TrivialBaseline]
    curve: Sequence[LearningPoint]
    doublings: Sequence[Doubling]

    @property
    def last_doubling(self) -> Doubling | None:
        return self.doublings[-1] if self.doublings else None

    @property
    def n_more_labels(self) -> int | None:
        """How many more labels would pay; None where that cannot be told.

        Each doubling to come is taken to gain the same part of the one before it as the last did, and pays while that
        is ``SMALL_GAIN``.
        """
        last = self.last_doubling
        if last is None or last.more_labels == "cannot_tell":
            return None
        if last.more_labels == "hardly":
            return 0
        if len(self.doublings) < 2 or self.doublings[-2].more_labels != "pay":  # so how gains shrink is not known
            return None
        part = min(1.0, last.gain / self.doublings[-2].gain)
        n_doublings = sum(last.gain * part**at >= SMALL_GAIN for at in range(1, MOST_DOUBLINGS + 1))
        return last.n_to * ((1 << n_doublings) - 1)


def out_of_fold(family: Family, rows: Sequence[Example], scorer: Scorer, *, learn: LearnStudent) -> OutOfFold:
    """Scores in [0, 1] by the family's own scorer. Only released rows teach; all are answered."""
    merged = merged_groups(rows)
    folds, groups = fold_of(merged), {row.id: group for row, group in zip(rows, merged, strict=True)}
    parts = [(fold, [row for row, its in zip(rows, folds, strict=True) if its == fold]) for fold in sorted(set(folds))]

    def of_student(share: float) -> Mapping[str, float] | str:
        return _joined(
            [_student_scores(family, _taught(rows, folds, fold, share), own, scorer, learn) for fold, own in parts]
        )

    each = [
        trivial_scores(family, _taught(rows, folds, fold, 1.0), own, scorer, names=(MAJORITY, NEAREST, FIRST))
        for fold, own in parts
    ]
    whole = {name: _joined([of_fold[name] for of_fold in each]) for name in (MAJORITY, NEAREST)}
    whole |= {STUDENT: of_student(1.0), FIRST: _joined([of_fold[FIRST] for of_fold in each])}
    steps: list[tuple[int, Mapping[str, float]]] = []
    if not isinstance(whole[STUDENT], str):
        for share in SHARES:
            step = whole[STUDENT] if share == 1.0 else of_student(share)
            if step and not isinstance(step, str):  # the fewest labels may be too few, or of one kind
                sizes = [len(_taught(rows, folds, fold, share)) for fold, _ in parts]
                steps.append((round(sum(sizes) / len(sizes)), step))
    return OutOfFold(
        n=len(rows),
        baselines=[mean_baseline(name, scores, groups) for name, scores in whole.items()],
        curve=[_point(n_train, step, groups) for n_train, step in steps],
        doublings=[_doubling(before, after, groups) for before, after in pairwise(steps)],
    )


def _student_scores(
    family: Family, train: Sequence[Example], rows: Sequence[Example], scorer: Scorer, learn: LearnStudent
) -> Mapping[str, float] | str:
    if scorer.is_judged:
        return NOT_JUDGED
    try:
        student = learn(teaching_rows(family, train), trained_on={}).student
    except DatasetTooSmall as why:
        return f"{why.detail} Here each learns from four fifths."
    return score_answers(rows, [student.answer(row.input).label for row in rows], scorer)


def _taught(rows: Sequence[Example], folds: Sequence[int], fold: int, share: float) -> list[Example]:
    """What the fold may learn from: the same first rows at every share, so that a larger one holds the smaller."""
    others = [row for row, its in zip(rows, folds, strict=True) if its != fold and row.released]
    others.sort(key=lambda row: digest(row.id.encode(errors="surrogatepass")))
    return others[: max(1, round(share * len(others)))] if others else []


def _joined(folds: Sequence[Mapping[str, float] | str]) -> Mapping[str, float] | str:
    """Of all rows; where one fold could not be answered, why."""
    joined: dict[str, float] = {}
    for scores in folds:
        if isinstance(scores, str):
            return scores
        joined.update(scores)
    return joined


def _point(n_train: int, scores: Mapping[str, float], groups: Mapping[str, str]) -> LearningPoint:
    interval = mean_interval(scores, groups)
    score = sum(scores.values()) / len(scores)
    return LearningPoint(n_train=n_train, score=score, low=interval.lower, high=interval.upper)


def _doubling(
    before: tuple[int, Mapping[str, float]], after: tuple[int, Mapping[str, float]], groups: Mapping[str, str]
) -> Doubling:
    differences = {id: after[1][id] - before[1][id] for id in after[1] if id in before[1]}
    interval = mean_interval(differences, groups)
    return Doubling(
        n_from=before[0],
        n_to=after[0],
        gain=sum(differences.values()) / len(differences),
        low=interval.lower,
        high=interval.upper,
    )
