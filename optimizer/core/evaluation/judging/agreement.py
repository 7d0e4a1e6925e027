"""How far a judge's scores agree with people's ratings, before and after they are mapped to ratings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from optimizer.core.evaluation.judging.calibration import Calibration, Method


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

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


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


def agreement_of(data: Mapping[str, Any]) -> Agreement:
    """What ``as_data`` wrote."""
    figures = [each.name for each in fields(Agreement) if each.name != "n"]
    return Agreement(n=data["n"], **{name: IntervalEstimate(**data[name]) for name in figures})


def what_it_says(agreement: Agreement) -> str:
    """Whether the map is worth anything, as a sentence."""
    less = agreement.less_than_mean
    if less.high is not None and less.high < 0:
        return "Calibrated, the judge comes nearer to people's ratings than their mean alone does."
    if less.low is not None and less.low > 0:
        return "Even calibrated, the judge comes less near to people's ratings than their mean alone does: change it."
    return "It cannot be told yet whether the judge comes nearer to people's ratings than their mean alone does."
