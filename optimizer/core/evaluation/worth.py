"""What a family's own examples say before a model is asked: how far answers without one get, and whether more labels
would take them further.

Every row is answered by what learned from the rows of the other folds. Rows of one group (a user, a dialogue) stand in
one fold, so nothing is answered by who has seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from optimizer.core.base.canonical import digest
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.trivial_baselines import (
    BASELINES,
    LOGISTIC,
    N_DRAWS,
    Classify,
    TrivialBaseline,
    mean_baseline,
    trivial_scores,
)
from optimizer.core.family.family import Family

N_FOLDS = 5
SHARES = (0.25, 0.5, 1.0)  # of what a fold may learn from; each doubles the one before
SMALL_GAIN = 0.02  # of the mean score: a doubling of the labels that gains less is hardly worth them

MoreLabels = Literal["pay", "hardly", "cannot_tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPoint:
    """A classifier that learned from ``n_train`` examples, on the mean of the folds; its mean score, 95 % interval."""

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
    """Of ``n`` rows: each baseline, a classifier's learning curve from few to all labels, and its last doubling.

    The curve is empty, and the doubling None, where no classifier can learn.
    """

    n: int
    baselines: Sequence[TrivialBaseline]
    curve: Sequence[LearningPoint]
    last_doubling: Doubling | None


def out_of_fold(family: Family, rows: Sequence[Example], scorer: Scorer, *, classify: Classify) -> OutOfFold:
    """Scores in [0, 1] by the family's own scorer. Only released rows teach; all are answered."""
    folds = fold_of(rows)

    def scores(share: float, names: Sequence[str]) -> dict[str, Mapping[str, float] | str]:
        each = [
            trivial_scores(
                family,
                _taught(rows, folds, fold, share),
                [row for row, its in zip(rows, folds, strict=True) if its == fold],
                scorer,
                classify=classify,
                names=names,
            )
            for fold in sorted(set(folds))
        ]
        return {name: _joined([of_fold[name] for of_fold in each]) for name in names}

    whole = scores(1.0, BASELINES)
    steps: list[tuple[int, Mapping[str, float]]] = []
    if not isinstance(whole[LOGISTIC], str):
        for share in SHARES:
            step = (whole if share == 1.0 else scores(share, (LOGISTIC,)))[LOGISTIC]
            if step and not isinstance(step, str):  # the fewest labels may all be of one kind
                sizes = [len(_taught(rows, folds, fold, share)) for fold in sorted(set(folds))]
                steps.append((round(sum(sizes) / len(sizes)), step))
    return OutOfFold(
        n=len(rows),
        baselines=[mean_baseline(name, each) for name, each in whole.items()],
        curve=[_point(n_train, step) for n_train, step in steps],
        last_doubling=_doubling(*steps[-2:]) if len(steps) > 1 else None,
    )


def fold_of(rows: Sequence[Example]) -> list[int]:
    """The fold of each row: groups in the order of their hash, each into the fold that is smallest so far."""
    size = [0] * N_FOLDS
    n_rows: dict[str, int] = {}
    for row in rows:
        n_rows[row.group] = n_rows.get(row.group, 0) + 1
    chosen: dict[str, int] = {}
    for group in sorted(n_rows, key=_order):
        chosen[group] = size.index(min(size))
        size[chosen[group]] += n_rows[group]
    return [chosen[row.group] for row in rows]


def _order(text: str) -> str:
    return digest(text.encode(errors="surrogatepass"))


def _taught(rows: Sequence[Example], folds: Sequence[int], fold: int, share: float) -> list[Example]:
    """What the fold may learn from: the same first rows at every share, so that a larger one holds the smaller."""
    others = [row for row, its in zip(rows, folds, strict=True) if its != fold and row.released]
    others.sort(key=lambda row: _order(row.id))
    return others[: max(1, round(share * len(others)))] if others else []


def _joined(folds: Sequence[Mapping[str, float] | str]) -> Mapping[str, float] | str:
    """Of all rows; where one fold could not be answered, why."""
    joined: dict[str, float] = {}
    for scores in folds:
        if isinstance(scores, str):
            return scores
        joined.update(scores)
    return joined


def _point(n_train: int, scores: Mapping[str, float]) -> LearningPoint:
    values = list(scores.values())
    interval = bootstrap_interval(values, seed=0, n_draws=N_DRAWS)
    return LearningPoint(n_train=n_train, score=sum(values) / len(values), low=interval.lower, high=interval.upper)


def _doubling(before: tuple[int, Mapping[str, float]], after: tuple[int, Mapping[str, float]]) -> Doubling:
    differences = [after[1][id] - before[1][id] for id in after[1] if id in before[1]]
    interval = bootstrap_interval(differences, seed=0, n_draws=N_DRAWS)
    return Doubling(
        n_from=before[0],
        n_to=after[0],
        gain=sum(differences) / len(differences),
        low=interval.lower,
        high=interval.upper,
    )
