"""How far a judge's scores agree with people's ratings, before and after a map, and what an uncalibrated judge may not
do.

Judgements are compared only where their judges are equal and were asked in the same words.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import atanh, inf, sqrt, tanh
from statistics import fmean
from typing import Literal

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import grouped, on_lines
from optimizer.core.evaluation.gates import GateResult, GateVerdict
from optimizer.core.family.family import Family
from optimizer.core.family.settings import JudgeSettings

Method = Literal["isotonic", "platt"]
MIN_RATINGS = 20  # fewer say nothing of how a judge agrees with people
LEAST_SPEARMAN = 0.3  # rank correlation with people's ratings, from which on a judge may decide
Z_ONE_SIDED = 1.645  # of the 95 % bound beyond which agreement is no chance
GATE = "judge_calibrated"
MOST_BEYOND = (
    0.1  # share of answers with scores beyond those that people rated, above which a mean of the map says little
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A map from a judge's scores to people's ratings, with how well the mapped scores agree, all out of fold.

    Args:
        judge: ``judge_identity`` of the judge whose scores were mapped.
        n: ratings by people that the map rests on.
        spearman: rank correlation of the judge's scores with the ratings, in [-1, 1]; None where one of them never
            varies.
        kappa: Cohen's, of passing and failing; None where it is not defined.
        calibration_error: mean absolute difference of mapped score and rating over bins, in [0, 1]; None: too few.
        fitted_at: UTC.
        points: (score, rating) in rising order of score, both in [0, 1]; between two the map is linear.
        scored, rated: the least and the largest score and rating that the map rests on; None in a record from before
            they were kept.
        n_independent: of ``independent_ratings``; None in a record from before it was kept, for which ``n`` stands.
    """

    judge: str
    method: Method
    n: int
    spearman: float | None
    kappa: float | None
    calibration_error: float | None
    fitted_at: datetime
    points: tuple[tuple[float, float], ...]
    scored: tuple[float, float] | None = None
    rated: tuple[float, float] | None = None
    n_independent: float | None = None

    def mapped(self, score: float) -> float:
        """The rating that people would give; flat beyond the first and the last point."""
        scores, ratings = zip(*self.points, strict=True)
        return on_lines(scores, ratings, score)

    def why_extrapolated(self, scores: Sequence[float]) -> str | None:
        """Why the mean of these scores' ratings would be extrapolated, as half a sentence; None where it is not.

        Beyond the ratings and the scores that it was fitted on the map is a guess, which no interval covers.
        """
        if self.scored is None or self.rated is None:
            return "the calibration does not say which ratings it rests on; calibrate the judge again"
        (least, most), (low, high) = self.rated, self.scored
        n_beyond = sum(not low <= score <= high for score in scores)
        if n_beyond > MOST_BEYOND * len(scores):
            return (
                f"{n_beyond} of {len(scores)} answers have scores beyond those that people rated ({low:.3f} to"
                f" {high:.3f})"
            )
        if not least <= fmean(map(self.mapped, scores)) <= most:
            return f"it lies beyond the ratings that the calibration rests on ({least:.3f} to {most:.3f})"
        return None


def why_uncalibrated(judge: str | None, calibration: Calibration | None) -> str | None:
    """Why a judge's score may not decide by itself, as a sentence without its full stop; None where it may.

    Args:
        judge: ``judge_identity`` of the judge that scores; None: the family names none, so feedback may come from any.
        calibration: the latest of this judge; None: there is none.
    """
    if judge is None:
        return "the family's file names no judge, so nothing says whose scores these are, or how far people agree"
    if calibration is None:
        return "the judge is uncalibrated: no ratings by people say how far its scores can be trusted"
    if calibration.judge != judge:
        return "the judge has changed since it was calibrated: its model, committee or rubric is another one"
    if calibration.n < MIN_RATINGS:
        return f"the judge's calibration rests on {calibration.n} ratings by people, and {MIN_RATINGS} are needed"
    if calibration.spearman is None:
        return "the judge gave the same score to everything that people rated, or people rated everything the same"
    if calibration.spearman < LEAST_SPEARMAN:
        return (
            f"the judge's scores do not follow people's ratings: rank correlation {calibration.spearman:.2f} on"
            f" {calibration.n}, and {LEAST_SPEARMAN:.2f} is needed"
        )
    n = calibration.n if calibration.n_independent is None else calibration.n_independent
    if (least := least_correlation(calibration.spearman, n)) <= 0:
        are_alike = round(n) < calibration.n
        alike = f", which say as much as {n:.0f} of as many units," if are_alike else ""
        wanted = "answers of more units" if are_alike else "more answers"
        return (
            f"the judge's agreement may be chance: rank correlation {calibration.spearman:.2f} on {calibration.n}"
            f" ratings{alike} is at least {least:.2f} with 95 % confidence; rate {wanted}"
        )
    return None


def independent_ratings(scores: Sequence[float], ratings: Sequence[float], units: Sequence[str]) -> float:
    """How many ratings, each of a unit of its own, would say as much of the rank correlation as these.

    Answers to one unit are alike, and so are their ratings: where both are, a few units agree by chance. Source: the
    design effect of Kish (1965), whose intraclass correlation is for a correlation the product of both variables'
    (Clifford, Richardson and Hémon 1989, Biometrics 45, 123-134).
    """
    n = len(units)
    mean_size = sum(size**2 for size in Counter(units).values()) / n  # of the unit of a rating that is drawn at random
    return n / (1 + (mean_size - 1) * _likeness(scores, units) * _likeness(ratings, units))


def _likeness(values: Sequence[float], units: Sequence[str]) -> float:
    """Intraclass correlation of the values' ranks within units, by the analysis of variance; 0 for less."""
    ordered = sorted(values)
    ranks = [float(bisect_left(ordered, value) + bisect_right(ordered, value)) for value in values]
    by_unit = grouped(zip(units, ranks, strict=True)).values()
    n, n_units, mean = len(ranks), len(by_unit), fmean(ranks)
    if not 1 < n_units < n:
        return float(n_units < n)
    squares = sum(len(own) * (fmean(own) - mean) ** 2 for own in by_unit)
    between = squares / (n_units - 1)
    within = (sum((rank - mean) ** 2 for rank in ranks) - squares) / (n - n_units)
    size = (n - sum(len(own) ** 2 for own in by_unit) / n) / (n_units - 1)
    total = between + (size - 1) * within
    return max(0.0, (between - within) / total) if total > 0 else 0.0


def least_correlation(spearman: float, n: float) -> float:
    """One-sided 95 % bound of a rank correlation on ``n`` independent pairs; -1 with three or fewer.

    Source: Bonett and Wright (2000), Psychometrika 65, 23-28: Fisher's z with variance (1 + r^2 / 2) / (n - 3).
    """
    if n <= 3:
        return -1.0
    z = inf if spearman >= 1 else -inf if spearman <= -1 else atanh(spearman)
    return tanh(z - Z_ONE_SIDED * sqrt((1 + spearman**2 / 2) / (n - 3)))


def calibrated_gate(judge: str | None, calibration: Calibration | None) -> GateResult:
    """The gate beside the others wherever a judge's score is the quality that they read.

    Missing or weak agreement could not be measured, which is no failure of the candidate; it never passes.
    """
    why = why_uncalibrated(judge, calibration)
    agreement = None if calibration is None or calibration.judge != judge else calibration.spearman
    return GateResult(
        name=GATE,
        verdict=GateVerdict.PASS if why is None else GateVerdict.ERROR,
        value=agreement,
        required=LEAST_SPEARMAN,
        reason=why or f"the judge's scores follow people's ratings: rank correlation {agreement:.2f}",
    )


PROMPT_VERSION = "1"  # of the words around the rubric and of how a reply is read; scores of two versions do not compare


def judge_of(family: Family) -> JudgeSettings:
    """The family's judge; raises InvalidInput where it has none."""
    if family.judge is None:
        raise InvalidInput(
            f"Family {family.name!r} has no judge. Name the model that judges in its family.yaml: judge:"
            " {model: ...}."
        )
    return family.judge


def judge_identity(family: Family) -> str:
    """``j_`` and 12 hex digits over all that a judgement of this family's answers rests on.

    That is members and their models, dimensions, weights, reference, the family's description, and the version of the
    prompt. Where a committee draws the line between pass and fail is left out, since it changes no score. Raises as
    ``judge_of``.
    """
    judge = judge_of(family)
    content = {
        "members": sorted(judge.members),
        "dimensions": dict(judge.dimensions),
        "weights": dict(judge.weight_of),
        "reference": judge.reference,
        "max_tokens": judge.max_tokens,
        "task": family.description,
        "prompt": PROMPT_VERSION,
        "models": dict(family.judges),
    }
    return "j_" + digest(canonical_json(content))[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalEstimate:
    """A figure with its 95 % interval; None: not defined on these answers."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Everything of *mapped* scores is out of fold: the map of an answer saw neither it nor its unit.

    Args:
        n: answers that a person rated and this judge scored.
        spearman: rank correlation of the judge's scores with the ratings.
        kappa: Cohen's, of mapped score and rating both passing or failing.
        weighted_kappa: with quadratic weights, both cut into five equal grades.
        raw_error, mapped_error, mean_error: squared error of the judge's scores, of the mapped ones, and of the mean
            rating of the other answers, which asks no judge.
        less_than_raw, less_than_mean: squared error of the mapped scores less that; below 0 is better.
        raw_calibration_error, calibration_error: of scores and of mapped ones, over at most ten bins of equal size.
    """

    n: int
    spearman: IntervalEstimate
    kappa: IntervalEstimate
    weighted_kappa: IntervalEstimate
    raw_error: IntervalEstimate
    mapped_error: IntervalEstimate
    mean_error: IntervalEstimate
    less_than_raw: IntervalEstimate
    less_than_mean: IntervalEstimate
    raw_calibration_error: IntervalEstimate
    calibration_error: IntervalEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """A calibration with what was measured of it, and who asked for it."""

    id: str
    family: str
    calibration: Calibration
    agreement: Agreement
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedJudge:
    """A map from scores to ratings as ``Calibration.points`` has it, and how well it does."""

    method: Method
    points: tuple[tuple[float, float], ...]
    agreement: Agreement


# (scores, ratings, groups, the least score that passes) of the same answers in the same order
FitJudge = Callable[[Sequence[float], Sequence[float], Sequence[str], float], FittedJudge]


def what_it_says(agreement: Agreement) -> str:
    """Whether the map is worth anything, as a sentence."""
    less = agreement.less_than_mean
    if less.high is not None and less.high < 0:
        return "Calibrated, the judge comes nearer to people's ratings than their mean alone does."
    if less.low is not None and less.low > 0:
        return "Even calibrated, the judge comes less near to people's ratings than their mean alone does: change it."
    return "It cannot be told yet whether the judge comes nearer to people's ratings than their mean alone does."
