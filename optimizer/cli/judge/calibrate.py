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

    calibration = Session().client.ask(calibrate_judge, CalibrateRequest(family=family, dry_run=dry_run))
    show_report(as_json, calibrate_judge, calibration, lambda out: told_calibration(out, calibration))
    if as_json or dry_run:
        return
    tell_change(
        f"{family}: its judge {calibration.judge} is measured on {count(calibration.n, 'rating')}.",
        why=calibration.says,
        undo="none; earlier calibrations are kept, and the latest of this judge counts.",
        then=f"detent judge show {family}",
    )


def told_calibration(out: Console, calibration: CalibrationView) -> None:
    rows = [
        {"figure": words, "value": _value(estimate), "interval": _interval(estimate)}
        for name, words in FIGURES.items()
        if (estimate := getattr(calibration.agreement, name))
    ]
    out.print(f"{calibration.n} ratings, map {calibration.method}, {calibration.fitted_at}. {calibration.says}")
    table(rows, {"figure": "Out of fold", "value": "Value", "interval": "95 % interval"}, empty="")(out)


def _value(estimate: IntervalEstimate) -> str:
    return "cannot tell" if estimate.value is None else f"{estimate.value:.3f}"


def _interval(estimate: IntervalEstimate) -> str:
    return "" if estimate.low is None else f"{estimate.low:z.3f} to {estimate.high:z.3f}"
