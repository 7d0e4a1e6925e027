"""``detent family evaluate``: one variant measured on examples or golden scenarios."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.doctor.keys import say_unset_keys
from optimizer.cli.output import FamilyName, Json, say, show, show_report
from optimizer.cli.session import Session
from optimizer.core.base.answers import shown
from optimizer.core.base.errors import Conflict, DetentError, Refused
from optimizer.runtime.use_cases import as_json_of

if TYPE_CHECKING:
    from optimizer.core.views.evaluation import SuitesReport


def evaluate(
    family: FamilyName,
    variant: Annotated[str, typer.Option(help="Id of the variant, or champion, candidate, or file.")] = "champion",
    suite: Annotated[
        str | None,
        typer.Option(
            help="A suite of the family, such as golden; full: all of them. Default: the targets without a name.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="dev or train; the holdout is sealed.")] = "dev",
    n: Annotated[
        int | None,
        typer.Option(
            help="Examples at most; default: the number that the family's targets name, else 20.",
            min=1,
            show_default=False,
        ),
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Ask the same prompt without its examples, too: a call more per example.")
    ] = False,
    budget_usd: Annotated[
        float | None,
        typer.Option(help="Dollars at most; default: no more calls than --dry-run says and half as many again."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write what was found into this file, as JSON.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say calls and dollars; ask no model.")] = False,
    as_json: Json = False,
) -> None:
    """Measure one variant on examples, with an interval, and check it against the family's targets,
    or on its golden scenarios beside the champion: exit 3 unless all is met,
    1 where no answer got a score.

    Example: detent family evaluate triage --suite golden --variant candidate
    """
    from optimizer.cli.family import evaluate_view
    from optimizer.jobs.runs.create_evaluation import EvaluationDryRun, read_evaluation, start_evaluation

    session = Session()
    run = session.ask(
        start_evaluation,
        family=family,
        variant=variant,
        suite=suite,
        split=split,
        n=n,
        bare=bare,
        budget={"usd": budget_usd},
        dry_run=dry_run,
    )
    if isinstance(run, EvaluationDryRun):
        again = (  # the options of the same command without its dry run
            f"--variant {variant}"
            + (f" --suite {suite}" if suite is not None else "")
            + (f" --split {split}" if split != "dev" else "")
            + (f" --n {n}" if n is not None else "")
            + (" --bare" if bare else "")
        )
        show_report(
            as_json, start_evaluation, run, lambda out: evaluate_view.view_estimates(out, family, run.suites, again)
        )
        say_unset_keys(session, family)
        return
    report = _at_its_end(session, run.id, quiet=as_json)
    document = as_json_of(read_evaluation, replace(run, result=report))["result"]
    if output is not None:
        _write(output, document)
    show(as_json, document, lambda out: evaluate_view.view(out, report))
    for suite_report in report.suites:
        say(evaluate_view.what_follows(suite_report, is_champion=report.champion == report.variant))
    if output is not None:
        say(f"Written to {output}.")
    if all(suite_report.mean_score is None for suite_report in report.suites):
        raise typer.Exit(1)
    if report.verdict not in (None, "met"):
        raise typer.Exit(3)


def _at_its_end(session: Session, id: str, *, quiet: bool) -> SuitesReport:
    """Raises Refused where it was stopped, and where no suite was measured before the budget ended."""
    from optimizer.cli.progress import follow_run
    from optimizer.jobs.runs.create_evaluation import read_evaluation, stop_evaluation

    def stop(_: bool) -> None:
        with suppress(DetentError):
            session.ask(stop_evaluation, id=id)

    report = follow_run(session, id, read_evaluation, quiet=quiet, left=stop).result
    if report is None:
        raise Refused(f"The evaluation {id} was stopped; what was answered is kept.")
    if not report.suites:
        raise Refused(shown(report.not_measured[0].why))
    return report


def _write(path: Path, document: object) -> None:
    """Raises Conflict where the file cannot be written."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as refused:
        raise Conflict(
            f"Cannot write the results to {path}: {refused.strerror}. The evaluation is kept in the store; name another"
            " file with --output and run it again: the journal answers."
        ) from None
