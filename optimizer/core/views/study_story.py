"""A Study told from its trials and dev results: what was tried, what led, on which examples, and at what cost.

Pure, for the report.

Nothing of the holdout comes in here but the confirmation that the Study keeps: sums, never an example.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt
from statistics import fmean, pstdev, stdev

from optimizer.core.base.phrasing import count
from optimizer.core.base.values import ExampleResult, Interval, Spend, scores_by_example
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import TIE
from optimizer.core.evaluation.gates import JudgedRecord
from optimizer.core.family.variant import Variant
from optimizer.core.search.cascade.figures import CascadeCurves
from optimizer.core.search.study import Study, Trial, ranked
from optimizer.core.statistics.interval import score_band
from optimizer.core.views.study_front import Mark, StudyFront, mark_of, on_front

N_CURVES = 6
MIN_TRIALS = 10  # fewer say nothing about what a setting is worth

Results = Mapping[str, Sequence[ExampleResult]]  # of the search, by variant


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """``calls`` and ``best`` are the search's up to and including this trial; ``lead`` is over the champion,
    on examples measured for both.
    """

    trial: Trial
    mark: Mark
    calls: int
    best: float | None
    lead: float | None
    ending: str  # why it went no further or cannot win; empty where neither is so
    on_front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyView:
    """What one proposer tried. ``usd`` is of its trials alone, not of what it asked for itself."""

    name: str
    n_trials: int
    n_calls: int
    usd: float
    best: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """After ``n`` common examples: the trial's mean in its band, and the champion's mean on the same ones."""

    n: int
    mean: float
    band: Interval
    champion: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    trial: Trial
    mark: Mark
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One dev example on which both were measured; ``difference`` = other - champion."""

    champion: ExampleResult
    other: ExampleResult
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTrial:
    """``trial`` against the champion, example by example: the winner, else the best of the others.

    ``cases``: largest gain first.
    """

    trial: Trial
    cases: tuple[Case, ...]
    wins: int
    ties: int
    losses: int
    n_unmeasured: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStory:
    trials: tuple[TrialView, ...]
    strategies: tuple[StrategyView, ...]
    curves: tuple[LearningCurve, ...]
    duel: PairedTrial | None
    n_unread: int  # answers of the trials that could not be read: they score 0
    n_unmeasured: int  # examples of the trials without a score
    cannot_tell: str | None  # why no setting can be called important; None where it can be tried


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobValue:
    """What a policy does with the dev items at one value of a knob.

    Shares are of all items, ``quality`` is the mean of the ``n_judged``.
    """

    value: object
    time_saved_share: float
    full_share: float
    quality: float | None
    n_judged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobEffect:
    """What a knob does, all else as it is. ``is_flat``: no value changed what happens to any item."""

    knob: str
    meaning: str
    values: tuple[KnobValue, ...]
    is_flat: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """``texts``: dev examples whose text may be shown, masked.

    ``spent``: by purpose of the calls. ``looks``: at these holdout examples by now.

    ``sensitivity``: of a policy's searched knobs, on the dev items; None in families of prompts. ``cascade``: of
    thresholds, on the training examples; None for a study that asked no tiers. ``judged``: what the scores are worth
    where a judge gave them, on dev.
    """

    study: Study
    history: StudyStory
    variants: Mapping[str, Variant]
    texts: Mapping[str, Example]
    outputs: Mapping[str, Mapping[str, str]]  # variant > example > what was answered, masked; only of ``texts``
    spent: Mapping[str, Spend]
    looks: int | None
    made_at: datetime
    front: StudyFront | None = None
    sensitivity: Sequence[KnobEffect] | None = None
    cascade: CascadeCurves | None = None
    judged: JudgedRecord | None = None
    # Variant > its name in the family's file, where it has one.
    versions: Mapping[str, str] = field(default_factory=dict)

    def usd_of(self, trial: Trial) -> float | None:
        """Mean dollars of a trial's answers; None where they are not known."""
        return self.front.usd_of(trial) if self.front is not None else trial.usd_per_example

    @property
    def spent_in_all(self) -> Spend:
        spends = self.spent.values()
        return Spend(
            usd=sum(one.usd for one in spends),
            n_calls=sum(one.n_calls for one in spends),
            n_lost=sum(one.n_lost for one in spends),
        )


def history_of(study: Study, trials: Sequence[Trial], results: Results, unpriced: Collection[str] = ()) -> StudyStory:
    """Everything that trials and their dev results tell. ``unpriced``: variants of which no dollars are known."""
    order = common_order(study, results)
    scores = {variant: scores_by_example(rows) for variant, rows in results.items()}
    champion = scores.get(study.champion, {})
    # Fewer than chosen where one was forgotten since.
    n_dev = max((t.n for t in trials if t.status == "complete"), default=len(order))
    unmeasured = {variant: sum(r.score is None for r in rows) for variant, rows in results.items()}
    seen = tuple(_trial_views(study, sorted(trials, key=lambda t: t.number), scores, unmeasured, n_dev, unpriced))
    others = [t for t in ranked(trials) if t.variant != study.champion]
    first = [t for t in others if t.variant == study.winner]
    shown = [*first, *(t for t in others if t.variant != study.winner)][:N_CURVES]
    curves = (_curve(t, mark_of(study, t), order, champion, scores.get(t.variant, {})) for t in shown)
    return StudyStory(
        trials=seen,
        strategies=tuple(_strategies(trials)),
        curves=tuple(curve for curve in curves if curve.points),
        duel=(
            _duel(shown[0], results.get(study.champion, ()), results.get(shown[0].variant, ()))
            if shown and champion
            else None
        ),
        n_unread=sum(r.error is not None and r.score is not None for rows in results.values() for r in rows),
        n_unmeasured=sum(r.score is None for rows in results.values() for r in rows),
        cannot_tell=cannot_tell_importance(study, trials, scores),
    )


def common_order(study: Study, results: Results) -> tuple[str, ...]:
    """Dev examples, those first that most variants met, so that every trial is a beginning;
    of equals as the dataset has them.
    """
    met = Counter(r.example for rows in results.values() for r in rows)
    dev = list((study.dataset or {}).get("dev", ()))
    place = {example: n for n, example in enumerate(dev)}
    return tuple(sorted(dev, key=lambda example: (-met[example], place[example])))


def lead(own: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Mean difference on the examples measured for both; None without any."""
    differences = [own[e] - other[e] for e in own if e in other]
    return fmean(differences) if differences else None


def _trial_views(
    study: Study,
    trials: Sequence[Trial],
    scores: Mapping[str, Mapping[str, float]],
    unmeasured: Mapping[str, int],
    n_dev: int,
    unpriced: Collection[str],
) -> Iterable[TrialView]:
    champion = scores.get(study.champion, {})
    front = on_front(trials, unpriced)
    calls, best = 0, None
    for trial in trials:
        calls += trial.n_calls
        if trial.status == "complete" and trial.score is not None and trial.n >= n_dev:
            best = trial.score if best is None else max(best, trial.score)
        own = scores.get(trial.variant, {})
        yield TrialView(
            trial=trial,
            mark=mark_of(study, trial),
            calls=calls,
            best=best,
            lead=lead(own, champion) if trial.variant != study.champion else None,
            ending=_ending(study, trial, len(champion.keys() - own.keys()), unmeasured.get(trial.variant, 0), n_dev),
            on_front=trial.number in front,
        )


def _ending(study: Study, trial: Trial, n_missing: int, n_unmeasured: int, n_dev: int) -> str:
    """Why a trial went no further, or why its score cannot win: a missing score is never counted as a good one."""
    if trial.status == "running":
        return f"still running, {trial.n} of {n_dev} examples so far"
    if trial.n and trial.score is None:
        return "no example could be measured"
    if trial.status in ("complete", "dropped") and trial.n >= n_dev:
        errors = f"{count(n_missing, 'example')} that the champion has a score on could not be measured"
        return f"cannot win: {errors}" if n_missing and trial.variant != study.champion else ""
    after = f"after {trial.n} of {n_dev} examples"
    if trial.status == "complete":
        return f"compared {after}: {study.spend.search_cut or 'the calls paid for no more.'}"
    if trial.status == "dropped":
        return (
            f"dropped {after}: {count(n_unmeasured, 'example')} could not be measured"
            if n_unmeasured
            else f"dropped {after}: too far behind to win"
        )
    return f"stopped {after}: {study.spend.search_cut or f'the study was {study.status}'}"


def _strategies(trials: Sequence[Trial]) -> Iterable[StrategyView]:
    for name in dict.fromkeys(t.proposer for t in sorted(trials, key=lambda t: t.number)):
        own = [t for t in trials if t.proposer == name]
        best = ranked(own)
        yield StrategyView(
            name=name,
            n_trials=len(own),
            n_calls=sum(t.n_calls for t in own),
            usd=sum(t.cost_usd for t in own),
            best=best[0].score if best else None,
        )


def _curve(
    trial: Trial, mark: Mark, order: Iterable[str], champion: Mapping[str, float], own: Mapping[str, float]
) -> LearningCurve:
    points: list[CurvePoint] = []
    total = squares = before = 0.0
    for n, example in enumerate((e for e in order if e in own and e in champion), start=1):
        total, squares, before = total + own[example], squares + own[example] ** 2, before + champion[example]
        points.append(CurvePoint(n=n, mean=total / n, band=score_band(n, total, squares), champion=before / n))
    return LearningCurve(trial=trial, mark=mark, points=tuple(points))


def _duel(trial: Trial, champion: Sequence[ExampleResult], other: Sequence[ExampleResult]) -> PairedTrial | None:
    before = {r.example: r for r in champion}
    pairs = [(before[r.example], r) for r in other if r.example in before]
    cases = [
        Case(champion=b, other=c, difference=c.score - b.score)
        for b, c in pairs
        if b.score is not None and c.score is not None
    ]
    if not cases:
        return None
    cases.sort(key=lambda case: (-case.difference, case.other.example))
    wins, losses = sum(c.difference > TIE for c in cases), sum(c.difference < -TIE for c in cases)
    return PairedTrial(
        trial=trial,
        cases=tuple(cases),
        wins=wins,
        ties=len(cases) - wins - losses,
        losses=losses,
        n_unmeasured=len(pairs) - len(cases),
    )


def cannot_tell_importance(
    study: Study, trials: Sequence[Trial], scores: Mapping[str, Mapping[str, float]]
) -> str | None:
    """Why no setting can be called important: too few trials,
    or scores that differ no more than the luck of the examples makes them.

    ``scores``: variant -> example -> score.
    """
    complete = ranked(trials)
    if len(complete) < MIN_TRIALS:
        return (
            f"{count(len(complete), 'measured trial')}, and fewer than {MIN_TRIALS} say nothing about what a setting is"
            " worth."
        )
    spread = pstdev([t.score or 0.0 for t in complete])
    if spread == 0:
        return f"all {len(complete)} measured trials have the same score."
    champion = scores.get(study.champion, {})
    noise = [error for t in complete if (error := _chance(champion, scores.get(t.variant, {}))) is not None]
    if noise and spread <= sqrt(fmean(e * e for e in noise)):
        return (
            f"the trials' scores differ by no more (standard deviation {spread:.3f}) than the luck of the examples"
            " makes them."
        )
    return None


def _chance(champion: Mapping[str, float], own: Mapping[str, float]) -> float | None:
    """Standard error of one trial's score beside another's on the same examples:
    that of the paired difference, shared by both.
    """
    differences = [own[e] - champion[e] for e in own if e in champion]
    return None if len(differences) < 2 or not any(differences) else stdev(differences) / sqrt(2 * len(differences))
