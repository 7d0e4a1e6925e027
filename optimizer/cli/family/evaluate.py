"""``detent family evaluate``: one variant measured on examples or golden scenarios."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from optimizer.cli.output import Json, plain, say, show
from optimizer.cli.session import Session
from optimizer.core.base.errors import Conflict

if TYPE_CHECKING:
    from optimizer.core.views.evaluation import SuitesReport


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
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
    from optimizer.cli.variant.find import find_variant
    from optimizer.core.evaluation.suite import FULL
    from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
    from optimizer.jobs.runs.evaluate_suites import evaluate_suites, scopes_of
    from optimizer.jobs.studies.evaluations.plan_evaluation import EvaluationScope, Splits, estimate_evaluation
    from optimizer.runtime import wiring

    session = Session()
    with session.store.read() as tx:
        declared = with_kept_golden(tx, session.store, session.family(family))
    measured = find_variant(session, family, variant).variant
    models = wiring.open_models(session.settings)
    scopes = scopes_of(declared, EvaluationScope(split=cast(Splits, split), n=n, bare=bare, suite=suite))
    # every suite is planned before the first is paid for
    estimates = [
        estimate_evaluation(declared, measured, suite_report, store=session.store, models=models)
        for suite_report in scopes
    ]
    if dry_run:
        again = _again(variant, suite, split, n, bare)
        show(
            as_json,
            estimates[0].as_data()
            if len(estimates) == 1
            else {"suites": [suite_report.as_data() for suite_report in estimates]},
            lambda out: evaluate_view.view_estimates(out, family, estimates, again),
        )
        return

    session.before_change()

    context = wiring.job_context(session.settings, session.store, session.clock, session.families, models, yields=False)
    try:
        report = evaluate_suites(
            context, declared, measured, scopes, actor=session.actor, classify=wiring.classify, usd=budget_usd
        )
    finally:
        models.close()
    if output is not None:
        _write(output, report)
    show(
        as_json,
        report.as_data() if suite == FULL else report.suites[0].as_data(),
        lambda out: evaluate_view.view(out, declared, report),
    )
    for suite_report in report.suites:
        say(evaluate_view.what_follows(declared, suite_report, is_champion=report.champion == report.variant))
    if output is not None:
        say(f"Written to {output}.")
    if all(suite_report.batch.mean_score is None for suite_report in report.suites):
        raise typer.Exit(1)
    if report.verdict not in (None, "met"):
        raise typer.Exit(3)


def _again(variant: str, suite: str | None, split: str, n: int | None, bare: bool) -> str:
    """The options of the same command without its dry run."""
    return (
        f"--variant {variant}"
        + (f" --suite {suite}" if suite is not None else "")
        + (f" --split {split}" if split != "dev" else "")
        + (f" --n {n}" if n is not None else "")
        + (" --bare" if bare else "")
    )


def _write(path: Path, report: SuitesReport) -> None:
    """Raises Conflict where the file cannot be written."""
    text = json.dumps(report.as_data(), default=plain, ensure_ascii=False, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as refused:
        raise Conflict(
            f"Cannot write the results to {path}: {refused.strerror}. The evaluation is kept in the store; name another"
            " file with --output and run it again: the journal answers."
        ) from None
