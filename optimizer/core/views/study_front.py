"""The front of a study: the trials that none beats in score, dollars and p95 together, and who answers what in each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Literal, TypeVar

from optimizer.core.base.phrasing import count, dollars
from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.search.study import UNPRICED, Study, Trial, measured

T = TypeVar("T")
Mark = Literal["champion", "winner", ""]
TRAFFIC_DAYS = 30  # a month of recorded requests


@dataclass(frozen=True, slots=True, kw_only=True)
class TierShare:
    """What one tier answered of a trial's ``n`` examples: ``share`` in (0, 1], and the mean score of these answers in
    [0, 1]; None where none could be measured.
    """

    tier: str
    n: int
    share: float
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A trial of the front, or the champion's or winner's beside it.

    ``answered_by``: the tiers in the order of the policy, then what a student alone refused; empty where the study did
    not record who answered.
    ``saved_share``: of the champion's dollars an answer, below 0 where it is dearer. ``usd_per_month``: at the family's
    recorded requests, of which ``saved_usd_per_month`` is less than the champion's. None where no request was recorded,
    and all dollars where one of its models has no known price.
    """

    trial: int
    variant: str
    mark: Mark
    on_front: bool
    n: int
    score: float | None
    usd_per_answer: float | None
    p95_ms: float | None
    answered_by: Sequence[TierShare]
    saved_share: float | None
    usd_per_month: float | None
    saved_usd_per_month: float | None

    @property
    def usd_per_1000(self) -> float | None:
        return None if self.usd_per_answer is None else 1000 * self.usd_per_answer

    @property
    def saved_in_words(self) -> str:
        """Such as "46%", and "46%, $60.00 of $130.00 a month" once requests are recorded, or "none, 33% dearer, $10.00
        more than $30.00 a month"; empty for the champion.
        """
        if self.saved_share is None or self.mark == "champion":
            return ""
        is_dearer = round(self.saved_share, 2) < 0
        words = f"none, {-self.saved_share:.0%} dearer" if is_dearer else f"{abs(self.saved_share):.0%}"
        if self.usd_per_month is None or self.saved_usd_per_month is None:
            return words
        before = self.usd_per_month + self.saved_usd_per_month
        of = "more than" if is_dearer else "of"
        return f"{words}, {dollars(abs(self.saved_usd_per_month))} {of} {dollars(before)} a month"

    @property
    def answered_in_words(self) -> str:
        """Such as "student 62% (score 0.910), large 38% (score 0.840)"."""
        return ", ".join(
            f"{one.tier} {one.share:.0%}" + (f" (score {one.score:.3f})" if one.score is not None else "")
            for one in self.answered_by
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFront:
    """On dev, where the best of many leads by luck too: only the holdout decides. The cheapest point comes first.

    ``n_trials``: of the study. ``requests_per_month``: recorded in the last 30 days, tests of named variants among
    them, since the store does not tell these apart. ``searched_by``: of a study that only confirms, the one whose
    search measured its winner, and which has the front; None where none did. ``unpriced``: variants that ask a model
    of which no price is known, so that no dollars of theirs are. ``outcome``: what came of a study that has finished.
    """

    study: str
    family: str
    n_trials: int
    requests_per_month: int
    points: Sequence[FrontPoint]
    searched_by: str | None = None
    unpriced: Sequence[str] = ()
    outcome: str | None = None

    def usd_of(self, trial: Trial) -> float | None:
        """Mean dollars of a trial's answers; None where they are not known."""
        return None if trial.variant in self.unpriced else trial.usd_per_example

    @property
    def has_several_answering(self) -> bool:
        """Whether more than one model or student answers, in one point or in two."""
        return len({one.tier for point in self.points for one in point.answered_by}) > 1

    @property
    def is_winner_outscored(self) -> bool:
        """Whether a point scores higher than the winner."""
        winner = next((point.score for point in self.points if point.mark == "winner"), None)
        return winner is not None and any((point.score or 0.0) > winner for point in self.points)

    @property
    def heading(self) -> str:
        traffic = (
            f"a month's dollars at the {count(self.requests_per_month, 'request')} recorded in the last {TRAFFIC_DAYS}"
            " days"
            if self.requests_per_month
            else "saved of a call; of a month once requests are recorded"
        )
        return f"The front, beside it champion and winner, and who answers which share ({traffic}):"


def front_of(
    study: Study,
    trials: Sequence[Trial],
    results: Mapping[str, Sequence[ExampleResult]],
    variants: Mapping[str, Variant],
    *,
    requests_per_month: int,
    front: set[int],
    unpriced: Collection[str] = (),
) -> StudyFront:
    """Trials with the same figures stand there once. Champion and winner always stand beside.

    Args:
        results: of the search, by variant.
        front: ``on_front`` of the trials.
        unpriced: ``unpriced_of`` the trials' variants.
    """
    champion = next((t for t in trials if t.variant == study.champion and t.variant not in unpriced), None)
    before = champion.usd_per_example if champion is not None else None
    points = [
        _point(
            study,
            trial,
            _shares(results.get(trial.variant, ()), variants.get(trial.variant)),
            usd=trial.usd_per_example if trial.variant not in unpriced else None,
            is_on_front=trial.number in front,
            before=before,
            requests_per_month=requests_per_month,
        )
        for trial in (
            *_without_twins(study, [t for t in trials if t.number in front]),
            *(t for t in trials if t.number not in front and mark_of(study, t)),
        )
    ]
    points.sort(
        key=lambda point: (
            inf if point.usd_per_answer is None else point.usd_per_answer,
            -(point.score or 0.0),
            point.trial,
        )
    )
    return StudyFront(
        study=study.id,
        family=study.family,
        n_trials=len(trials),
        requests_per_month=requests_per_month,
        points=points,
        unpriced=sorted(unpriced),
    )


def unpriced_of(study: Study, variants: Mapping[str, Variant]) -> set[str]:
    """The variants of which no dollars are known, since one of their models had no known price."""
    unpriced = {*(study.findings or {}).get(UNPRICED, ())}
    return {id for id, variant in variants.items() if unpriced.intersection(models_of(variant, {}))}


def _point(
    study: Study,
    trial: Trial,
    shares: Sequence[TierShare],
    *,
    usd: float | None,
    is_on_front: bool,
    before: float | None,
    requests_per_month: int,
) -> FrontPoint:
    requests = requests_per_month if requests_per_month and not study.is_replayed else None
    return FrontPoint(
        trial=trial.number,
        variant=trial.variant,
        mark=mark_of(study, trial),
        on_front=is_on_front,
        n=trial.n,
        score=trial.score,
        usd_per_answer=usd,
        p95_ms=trial.p95_ms,
        answered_by=shares,
        saved_share=1 - usd / before if usd is not None and before else None,
        usd_per_month=usd * requests if usd is not None and requests is not None else None,
        saved_usd_per_month=(before - usd) * requests
        if usd is not None and before is not None and requests is not None
        else None,
    )


def _shares(results: Sequence[ExampleResult], variant: Variant | None) -> list[TierShare]:
    if variant is None or not variant.messages:
        return []
    tiers = [str(name) for name in variant.policy.get("tiers") or ()]
    alone = None if tiers else str(variant.model["name"])
    by_tier: dict[str, list[ExampleResult]] = {}
    for result in results:
        if result.output is None:
            continue
        tier = result.answered_by or alone
        if tier is None:  # of a study that recorded no tier
            return []
        by_tier.setdefault(tier, []).append(result)
    order = sorted(by_tier, key=lambda name: (tiers.index(name) if name in tiers else len(tiers), name))
    n_answers = sum(map(len, by_tier.values()))
    return [
        TierShare(
            tier=name,
            n=len(by_tier[name]),
            share=len(by_tier[name]) / n_answers,
            score=fmean(scores) if (scores := [r.score for r in by_tier[name] if r.score is not None]) else None,
        )
        for name in order
    ]


def pareto_front(points: Sequence[T], of: Callable[[T], tuple[float, float]]) -> list[T]:
    """The points that none beats in score and cost at once, the cheapest first; of equals the first.

    ``of`` gives a point's cost and score.
    """
    front: list[T] = []
    for point in sorted(points, key=lambda p: (of(p)[0], -of(p)[1])):
        if not front or of(point)[1] > of(front[-1])[1]:
            front.append(point)
    return front


def on_front(trials: Sequence[Trial], unpriced: Collection[str] = ()) -> set[int]:
    """Numbers of the trials that none beats in score, dollars and p95 together. Two are compared in p95 only where both
    have one: what the journal answered has none. Where dollars are known of some, trials without stand outside.
    """
    everything = measured(trials)
    alike = defaultdict[tuple[float, float], list[Trial]](list)  # by lost score and dollars
    for t in [t for t in everything if t.variant not in unpriced] or everything:
        alike[_figures(t)[:2]].append(t)
    front, steps = set[int](), list[tuple[float, float]]()  # dollars and p95 of what beats: the dearer, the faster
    for lost, usd in sorted(alike):  # what beats a trial comes before it
        same = alike[lost, usd]
        place = bisect_right(steps, (usd, inf))
        quickest = min((t.p95_ms for t in same if t.p95_ms is not None), default=inf)
        if not place or quickest < steps[place - 1][1]:
            front.update(t.number for t in same if t.p95_ms == quickest or (t.p95_ms is None and not place))
        p95_ms = -inf if any(t.p95_ms is None for t in same) else quickest  # what has none beats at any
        if place and steps[place - 1][1] <= p95_ms:
            continue
        begin = bisect_left(steps, (usd, -inf))
        end = next((i for i in range(place, len(steps)) if steps[i][1] < p95_ms), len(steps))
        steps[begin:end] = [(usd, p95_ms)]
    return front


def _figures(trial: Trial) -> tuple[float, float, float | None]:
    """Lost score, dollars and p95. Sums of the same amounts in another order differ in the last digits of a float."""
    return -round(trial.score or 0.0, 9), float(f"{trial.usd_per_example or 0.0:.6g}"), trial.p95_ms


def _without_twins(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Of trials with the same figures the one tried first, or champion and winner in its place."""
    by_number = sorted(trials, key=lambda t: -t.number)
    shown = {_figures(t): t.number for t in (*by_number, *(t for t in trials if mark_of(study, t)))}
    return [t for t in trials if mark_of(study, t) or shown[_figures(t)] == t.number]


def mark_of(study: Study, trial: Trial) -> Mark:
    """What the trial's variant is to the study."""
    return "champion" if trial.variant == study.champion else "winner" if trial.variant == study.winner else ""
