"""``detent judge check``: does the judge like a place, a length, or its own answers?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.judge.follow import follow_judge_run, told_estimate
from optimizer.cli.judge.score import BudgetCalls, BudgetUsd
from optimizer.cli.output import Json, say, show, show_report
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console


def check(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    n: Annotated[int, typer.Option(min=1, help="Dev examples at most; fewer than 20 tell nothing.")] = 40,
    beside: Annotated[
        str | None, typer.Option(help="A model that judges the judge's own answers, too.", show_default=False)
    ] = None,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the biases of the family's judge: swap two answers, pad one with empty sentences, put its own beside
    another's.

    Exit 3 where a bias is found, or the budget ended before all was asked.

    Example: detent judge check letters --dry-run
    """
    from optimizer.core.evaluation.judging.run import JudgeRunEstimate
    from optimizer.jobs.studies.evaluations.create_judge_run import JudgeCheckRequest, check_biases
    from optimizer.jobs.studies.evaluations.queue_run import RunBudgetBody

    session, budget = Session(), RunBudgetBody(usd=budget_usd, calls=budget_calls)
    created = session.client.ask(
        check_biases, JudgeCheckRequest(family=family, n=n, beside=beside, budget=budget, dry_run=dry_run)
    )
    if isinstance(created, JudgeRunEstimate):
        head = f"{family}: {count(created.n, 'dev example')}, judged by {', '.join(created.members)}"
        show_report(as_json, check_biases, created, lambda out: told_estimate(out, created, head))
        return
    run = follow_judge_run(session, created.id, quiet=as_json)
    if run.result is None:
        say("The check was stopped; nothing was found.")
        raise typer.Exit(3)
    result = run.result

    def told_biases(out: Console) -> None:
        for member, biases in result["biases"].items():
            out.print(f"{member} ({result['judge']}), {count(result['n'], 'example')}:", style="bold", markup=False)
            for bias in biases:
                out.print(f"  {bias['said']}", markup=False)

    show(as_json, {**result, "run": run.id}, told_biases)
    if result["stopped"]:
        say(f"Not all was asked: {result['stopped']}")
    if result["is_biased"]:
        say("Exit 3: a bias was found. Change the judge's model or rubric, or put several models into a committee.")
    if result["stopped"] or result["is_biased"]:
        raise typer.Exit(3)
