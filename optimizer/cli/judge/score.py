"""``detent judge score``: lets the judge score answers that users were given."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.family.evaluate_view import NO_PRICE
from optimizer.cli.judge.follow import follow_judge_run, told_estimate
from optimizer.cli.output import Json, dollars, say, show, show_report
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

BudgetUsd = Annotated[float | None, typer.Option(min=0, help="Dollars at most.", show_default=False)]
BudgetCalls = Annotated[
    int | None, typer.Option(min=0, help="Calls at most; default: what --dry-run says.", show_default=False)
]


def score(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    n: Annotated[int, typer.Option(min=1, help="Answers at most.")] = 50,
    days: Annotated[float, typer.Option(help="Of so many days back.")] = 30.0,
    budget_usd: BudgetUsd = None,
    budget_calls: BudgetCalls = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Let the family's judge score answers that users were given, drawn at random; no answer twice.

    Where a server runs its worker does it, and the command waits; one that was killed goes on and asks nothing twice.

    Each score is kept as feedback of source judge. The worker does the same by itself where the family's file says so
    (judge.monitor).

    Example: detent judge score letters --n 50 --dry-run
    """
    from optimizer.core.evaluation.judging.run import JudgeRunEstimate
    from optimizer.core.feedback.review_sampling import span_of
    from optimizer.jobs.runs.create_judge_run import JudgeScoreRequest, score_answers
    from optimizer.jobs.runs.queue_run import RunBudgetBody

    span_of(days, "judged")  # says what is wrong with --days in the words of a command
    session, budget = Session(), RunBudgetBody(usd=budget_usd, calls=budget_calls)
    created = session.client.ask(
        score_answers, JudgeScoreRequest(family=family, n=n, days=days, budget=budget, dry_run=dry_run)
    )
    if isinstance(created, JudgeRunEstimate):
        head = f"{family}: {count(created.n, 'answer')} that the judge has not scored"
        show_report(as_json, score_answers, created, lambda out: told_estimate(out, created, head))
        if created.why_none:
            say(created.why_none)
        return
    run = follow_judge_run(session, created.id, quiet=as_json)
    result: dict[str, Any] = {"n_judged": 0, "n_unmeasured": 0, "reviews": [], "usd": 0.0, "stopped": None}
    result |= run.result or {}
    words = (
        f"{family}: {count(result['n_judged'], 'answer')} judged, {result['n_unmeasured']} not measured,"
        f" {NO_PRICE if result['usd'] is None else dollars(result['usd']) + ' spent'}"
    )
    n_reviews = len(result["reviews"])
    reviews = f"; {count(n_reviews, 'review')} opened, since its members differ" if n_reviews else ""
    show(as_json, {**result, "run": run.id}, lambda out: out.print(f"{words}{reviews}.", markup=False))
    if result["stopped"] or run.status == "cancelled":
        say(f"Not all were judged: {result['stopped'] or 'the run was stopped before it began.'}")
        raise typer.Exit(3)
    if run.n == 0:
        say(run.request["why_none"] or "")
    elif result["n_judged"] == 0:
        say(
            "None was judged: calls of the judge failed, or its answers could not be read. The same command asks again;"
            " a stronger model may do better (judge.model in family.yaml)."
        )
    elif not as_json:
        say(f"Next: detent review draw {family}")
