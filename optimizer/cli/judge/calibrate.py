"""``detent judge calibrate``, and how a calibration is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, show_report, table, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.evaluation.judging.agreement import IntervalEstimate
    from optimizer.core.views.judge import CalibrationView

Family = Annotated[str, typer.Argument(help="Name of the family.", show_default=False)]
FIGURES = {
    "spearman": "rank correlation with the ratings",
    "kappa": "kappa, passing or failing",
    "weighted_kappa": "kappa of five grades, quadratic weights",
    "raw_error": "squared error, as the judge scores",
    "mapped_error": "squared error, calibrated",
    "mean_error": "squared error of the mean rating",
    "less_than_raw": "calibrated less raw",
    "less_than_mean": "calibrated less mean",
    "raw_calibration_error": "calibration error, as the judge scores",
    "calibration_error": "calibration error, calibrated",
}


def calibrate(
    family: Family,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what was found, and keep nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how far the judge agrees with people, and fit the map from its scores to their ratings.

    It takes 20 answers that the judge scored and a person rated. All figures are out of fold.

    Example: detent judge calibrate summarization
    """
    from optimizer.jobs.feedback.calibrate_judge import CalibrateRequest, calibrate_judge

    made = Session().client.ask(calibrate_judge, CalibrateRequest(family=family, dry_run=dry_run))
    show_report(as_json, calibrate_judge, made, lambda out: told_calibration(out, made))
    if as_json or dry_run:
        return
    tell_change(
        f"{family}: its judge {made.judge} is measured on {count(made.n, 'rating')}.",
        why=made.says,
        undo="none; earlier calibrations are kept, and the latest of this judge counts.",
        then=f"detent judge show {family}",
    )


def told_calibration(out: Console, made: CalibrationView) -> None:
    rows = [
        {"figure": words, "value": _value(found), "interval": _interval(found)}
        for name, words in FIGURES.items()
        if (found := getattr(made.agreement, name))
    ]
    out.print(f"{made.n} ratings, map {made.method}, {made.fitted_at}. {made.says}")
    table(rows, {"figure": "Out of fold", "value": "Value", "interval": "95 % interval"}, empty="")(out)


def _value(found: IntervalEstimate) -> str:
    return "cannot tell" if found.value is None else f"{found.value:.3f}"


def _interval(found: IntervalEstimate) -> str:
    return "" if found.low is None else f"{found.low:z.3f} to {found.high:z.3f}"
