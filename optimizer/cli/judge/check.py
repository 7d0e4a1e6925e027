"""``detent judge check``: does the judge like a place, a length, or its own answers?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.family.evaluate_view import NO_PRICE
from optimizer.cli.output import Json, dollars, plain, say, show
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
    budget_usd: Annotated[float | None, typer.Option(help="Dollars at most; without it no cap.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the biases of the family's judge: swap two answers, pad one with empty sentences, put its own beside
    another's.

    Exit 3 where a bias is found.

    Example: detent judge check letters --dry-run
    """
    from optimizer.core.base.values import Budget
    from optimizer.jobs.studies.evaluations.check_judge import check_judge, estimate_check
    from optimizer.runtime import wiring

    session = Session()
    declared = session.family(family)
    models = wiring.open_models(session.settings)
    try:
        if dry_run:
            told = estimate_check(declared, n=n, beside=beside, store=session.store, models=models)
            usd = told["usd"]
            money = NO_PRICE if usd is None else f"{dollars(usd.expected)} expected, at most {dollars(usd.high)}"

            def view(out: Console) -> None:
                out.print(f"{family}: {count(told['n'], 'dev example')}, judged by {', '.join(told['members'])}")
                out.print(
                    f"Calls     {told['calls'].expected:,} expected, at most {told['calls'].high:,}", markup=False
                )
                out.print(f"Dollars   {money}", markup=False)

            show(as_json, plain(told), view)
            return
        made = check_judge(
            declared,
            n=n,
            beside=beside,
            budget=Budget(usd=budget_usd),
            store=session.store,
            clock=session.clock,
            models=models,
            scorer_for=wiring.scorers(session.settings),
        )
    finally:
        models.close()

    def told_biases(out: Console) -> None:
        for member, biases in made.biases.items():
            out.print(f"{member} ({made.judge}), {count(made.n, 'example')}:", style="bold", markup=False)
            for bias in biases:
                out.print(f"  {bias.said}", markup=False)

    show(as_json, plain({**asdict(made), "is_biased": made.is_biased}), told_biases)
    if made.is_biased:
        say("Exit 3: a bias was found. Change the judge's model or rubric, or put several models into a committee.")
        raise typer.Exit(3)
