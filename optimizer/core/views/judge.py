"""A family's judge as people and programs see it: its calibrations, what its scores say of the answers, its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from optimizer.core.base.answers import members_of
from optimizer.core.evaluation.judging.calibration import Agreement, Calibration, CalibrationRecord, what_it_says
from optimizer.core.evaluation.judging.run import JudgeRequest, JudgeRun
from optimizer.core.feedback.rating_draws import Draw, JudgedFigure


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationView(Calibration):
    """``id`` is None, and ``dry_run`` True, where it was not kept. ``says``: whether the map is worth anything."""

    id: str | None
    family: str
    agreement: Agreement
    says: str
    created_by: str
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFigureView:
    """The quality of judged answers with its 95 % interval, or why it cannot be told; beside it what the ratings alone
    say, and the judge alone.
    """

    mean: float | None
    low: float | None
    high: float | None
    why_not: str | None
    people_mean: float | None
    people_low: float | None
    people_high: float | None
    judge_mean: float | None
    n_judged: int
    n_rated: int
    n_unrated: int
    n_waiting: int
    width_after_next_50: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeView:
    """``uncalibrated``: why the judge's score may not decide by itself; None where it may. ``calibration``: of this
    very judge. ``history``: the latest first, those of earlier judges too. ``figure``: of the answers that this judge
    scored, or of one ``variant``'s.
    """

    family: str
    judge: str
    uncalibrated: str | None
    calibration: CalibrationView | None
    history: Sequence[CalibrationView]
    variant: str | None
    figure: JudgedFigureView


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawView:
    """``reviews``: opened, in the order of the draw; none in a dry run. ``figure``: what was known before the draw."""

    family: str
    id: str
    judge: str
    since: datetime
    until: datetime
    frame: int
    n: int
    inclusion: float
    reviews: Sequence[str]
    dry_run: bool
    figure: JudgedFigureView


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRunView(JudgeRun):
    """Without the ids of the answers that it scores."""

    dry_run: Literal[False] = False


def calibration_view(record: CalibrationRecord, *, dry_run: bool = False) -> CalibrationView:
    """``dry_run``: it was not kept, and has no id."""
    return CalibrationView(
        **members_of(record.calibration),
        id=None if dry_run else record.id,
        family=record.family,
        agreement=record.agreement,
        says=what_it_says(record.agreement),
        created_by=record.created_by,
        dry_run=dry_run,
    )


def judged_figure_view(figure: JudgedFigure) -> JudgedFigureView:
    estimate, interval = figure.found, figure.interval
    return JudgedFigureView(
        mean=estimate.mean if estimate is not None else None,
        low=interval.lower if interval is not None else None,
        high=interval.upper if interval is not None else None,
        why_not=figure.why_not,
        people_mean=estimate.people_mean if estimate is not None else None,
        people_low=estimate.people.lower if estimate is not None else None,
        people_high=estimate.people.upper if estimate is not None else None,
        judge_mean=figure.judge_mean,
        n_judged=figure.n_judged,
        n_rated=figure.n_rated,
        n_unrated=figure.n_unrated,
        n_waiting=figure.n_waiting,
        width_after_next_50=figure.width_after_next,
    )


def draw_view(family: str, draw: Draw, reviews: Sequence[str], figure: JudgedFigure) -> DrawView:
    return DrawView(
        family=family,
        **members_of(draw),
        inclusion=draw.inclusion,
        reviews=reviews,
        dry_run=not reviews,
        figure=judged_figure_view(figure),
    )


def judge_run_view(run: JudgeRun) -> JudgeRunView:
    request: Mapping[str, object] = {name: value for name, value in run.request.items() if name != "interactions"}
    return JudgeRunView(**{**members_of(run), "request": JudgeRequest(**request)})  # type: ignore[typeddict-item]
