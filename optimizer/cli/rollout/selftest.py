"""``detent rollout selftest``: what the gates would have done on the family's own recorded traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import FamilyName, Json, show_report, table, when
from optimizer.cli.progress import counting
from optimizer.cli.rollout.forecast_view import span
from optimizer.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.jobs.rollouts.selftest import FamilySelftest

COLUMNS = {
    "case": "Candidate",
    "runs": "Runs",
    "shipped": "Shipped",
    "rolled_back": "Rolled back",
    "inconclusive": "Inconclusive",
    "invalid": "Invalid",
    "unfinished": "Record ended first",
    "labelled": "Labelled",
    "time": "Time",
}


def selftest(
    family: FamilyName,
    runs: Annotated[int, typer.Option(min=1, help="Rollouts of each kind: equal, and with the drop.")] = 100,
    injected_drop: Annotated[
        float,
        typer.Option("--injected-drop", help="Chance that a success of the worse candidate's users becomes a failure."),
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Deals the units; the same seed gives the same result.")] = 0,
    margin: Annotated[float | None, typer.Option(help="Try another margin than the family's.")] = None,
    minutes: Annotated[
        float, typer.Option(help="No new run begins after so many minutes; what was done counts.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Replay the recorded traffic of 30 days as the champion against itself, and against a worse one;
    asks no model, writes nothing.

    Example: detent rollout selftest triage --runs 200
    """
    from optimizer.jobs.rollouts.selftest import read_selftest

    session = Session()
    with counting("runs replayed") as session.progress:
        report = session.ask(
            read_selftest,
            family=family,
            runs=runs,
            injected_drop=injected_drop,
            seed=seed,
            margin=margin,
            minutes=minutes,
        )
    show_report(as_json, read_selftest, report, lambda out: _view(out, report))


def _view(out: Console, report: FamilySelftest) -> None:
    if report.verdict == "cannot_tell":
        out.print(f"{report.family}: {report.summary}", style="yellow", markup=False)
        return
    source_text = (
        f"{report.n_requests:,} requests of {report.n_units:,} units, {report.n_labelled_units:,} of them with feedback"
    )
    assert report.margin is not None
    out.print(
        f"Replayed  {source_text}, {when(report.since)} to {when(report.until)}; margin {report.margin:g}",
        markup=False,
    )
    out.print("")
    rows: list[dict[str, Any]] = []
    for cell in report.cells:
        shares: dict[str, str] = {
            end: f"{ending.n} ({100 * ending.interval.lower:.0f}–{100 * ending.interval.upper:.0f} %)"
            for end, ending in cell.endings.items()
        }
        labelled = "–" if cell.mean_labelled is None else f"{cell.mean_labelled:,.0f}"
        time = "–" if cell.mean_hours is None else span(cell.mean_hours)
        case = f"{100 * cell.drop:.1f} points worse" if cell.drop else "equal (A against A)"
        rows.append({"case": case, "runs": cell.n_runs, **shares, "labelled": labelled, "time": time})
    table(rows, COLUMNS, empty="")(out)
    out.print("")
    out.print(report.summary, markup=False)
