"""``detent judge``: how far a family's judge agrees with people, and what its scores say of the answers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.judge.calibrate import Family, calibrate, told_calibration
from optimizer.cli.judge.check import check
from optimizer.cli.judge.figure import told_figure
from optimizer.cli.judge.score import score
from optimizer.cli.output import Json, say, show_report, table
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

MOST_RUNS = 50
app = typer.Typer(name="judge", no_args_is_help=True, help="A model that scores answers: does it agree with people?")


app.command()(calibrate)
app.command()(score)
app.command()(check)


@app.command("show")
def show_judge(
    family: Family,
    variant: Annotated[str | None, typer.Option(help="The quality of this variant's answers alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show whether the judge may decide by itself, and the quality of the answers that it scored with its interval.

    Example: detent judge show summarization
    """
    from optimizer.jobs.feedback.judge_standing import JudgeReadRequest, read_judge

    standing = Session().client.ask(read_judge, JudgeReadRequest(family=family, variant=variant))

    def view(out: Console) -> None:
        out.print(f"{family}: judge {standing.judge}.")
        why = standing.uncalibrated
        out.print("It may decide: people's ratings vouch for it." if why is None else f"It never decides alone: {why}.")
        if standing.calibration is not None:
            told_calibration(out, standing.calibration)
        if earlier := [calibration for calibration in standing.history if calibration.judge != standing.judge]:
            out.print(f"{count(len(earlier), 'calibration')} of earlier judges.")

    show_report(as_json, read_judge, standing, view)
    if not as_json:
        say(told_figure(standing.figure))


@app.command("runs")
def list_runs(family: Family, as_json: Json = False) -> None:
    """List what the judge was asked to score or to be checked for, the latest first.

    Example: detent judge runs summarization
    """
    from optimizer.jobs.studies.evaluations.create_judge_run import JudgeRunsRequest, read_judge_runs

    page = Session().client.ask(read_judge_runs, JudgeRunsRequest(family=family, limit=MOST_RUNS))
    columns = {"id": "Run", "kind": "Kind", "status": "Status", "n_done": "Done", "n": "Of at most", "error": "Error"}
    rows = [asdict(item) for item in page.items]
    view = table(rows, columns, empty=f"{family}: its judge was asked nothing yet.")
    show_report(as_json, read_judge_runs, page, view)


@app.command("cancel")
def cancel_run(
    run: Annotated[str, typer.Argument(help="Id of the run.", show_default=False)], as_json: Json = False
) -> None:
    """Stop a run of the judge before its next call; what was scored stays.

    Example: detent judge cancel jr_01m5v2s1n8
    """
    from optimizer.jobs.studies.evaluations.create_judge_run import stop_judge_run
    from optimizer.jobs.studies.evaluations.queue_run import RunActRequest

    stopped_run = Session().client.ask(stop_judge_run, RunActRequest(id=run))
    state = "is stopped" if stopped_run.status == "cancelled" else f"has ended: {stopped_run.status}"
    state = "stops before its next call" if stopped_run.status == "running" else state
    show_report(as_json, stop_judge_run, stopped_run, lambda out: out.print(f"Run {run} {state}.", markup=False))
