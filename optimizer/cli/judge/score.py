"""``detent judge score``: lets the judge score answers that users were given."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.family.evaluate_view import NO_PRICE
from optimizer.cli.output import Json, dollars, plain, say, show
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console


def score(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    n: Annotated[int, typer.Option(min=1, help="Answers at most.")] = 50,
    days: Annotated[float, typer.Option(help="Of so many days back.")] = 30.0,
    budget_usd: Annotated[float | None, typer.Option(help="Dollars at most; without it no cap.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Let the family's judge score answers that users were given, drawn at random; no answer twice.

    Each score is kept as feedback of source judge. The worker does the same by itself where the family's file says so
    (judge.monitor).

    Example: detent judge score letters --n 50 --dry-run
    """
    from optimizer.core.base.values import Budget
    from optimizer.core.evaluation.judging.identity import judge_of
    from optimizer.jobs.families.check_models import require_known_models
    from optimizer.jobs.feedback.judge_traffic import estimate_judging, judge_answers, latest_answers
    from optimizer.runtime import wiring

    session = Session()
    declared = session.family(family)
    answers = latest_answers(declared, n, days=days, store=session.store, clock=session.clock)
    models = wiring.open_models(session.settings)
    try:
        require_known_models(declared, models)
        if dry_run:
            calls, usd = estimate_judging(declared, answers, store=session.store, models=models)
            show(as_json, plain({"n": len(answers), "calls": calls, "usd": usd}), _view(family, answers, calls, usd))
            return
        made = judge_answers(
            declared,
            answers,
            budget=Budget(usd=budget_usd),
            store=session.store,
            clock=session.clock,
            models=models,
            intake=session.intake,
            purpose="judge",
        )
    finally:
        models.close()
    is_priced = all(models.price(one) is not None for one in judge_of(declared).members)
    spent = f"{dollars(made.usd)} spent" if is_priced else NO_PRICE
    words = f"{family}: {count(made.n_judged, 'answer')} judged, {made.n_unmeasured} not measured, {spent}"
    reviews = f"; {count(len(made.reviews), 'review')} opened, since its members differ" if made.reviews else ""
    show(as_json, plain(asdict(made)), lambda out: out.print(f"{words}{reviews}.", markup=False))
    if made.stopped:
        say(f"Not all were judged: {made.stopped}")
        raise typer.Exit(3)
    if not as_json:
        say(f"Next: detent review draw {family}")


def _view(family: str, answers: list[str], calls: Any, usd: Any) -> Any:
    def view(out: Console) -> None:
        out.print(f"{family}: {count(len(answers), 'answer')} that the judge has not scored", markup=False)
        out.print(f"Calls     {calls.expected:,} expected, at most {calls.high:,}", markup=False)
        money = NO_PRICE if usd is None else f"{dollars(usd.expected)} expected, at most {dollars(usd.high)}"
        out.print(f"Dollars   {money}", markup=False)

    return view
