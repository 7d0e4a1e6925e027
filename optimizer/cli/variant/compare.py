"""``detent variant compare``: prompts side by side on the same dev examples,
short in the terminal and whole on a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import Json, dollars, say, show, table
from optimizer.cli.report_file import STDOUT, Open, Out, write_page
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count, signed, signed_interval
from optimizer.core.base.values import ExampleResult

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.variant_grid import GridColumn, GridRow, VariantGrid
    from optimizer.jobs.studies.compare_variants import ComparisonEstimate

N_ROWS = 8  # in the terminal
TEXT_CHARS = 40
NO_PRICE = "dollars unknown: a model has no price in config/models.yaml"


def register(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    variants: Annotated[
        list[str], typer.Argument(help="Ids, or champion, candidate, file; the others are held against the first.")
    ],
    examples: Annotated[int, typer.Option("--examples", "-n", help="Dev examples at most.", min=1)] = 50,
    budget_usd: Annotated[float | None, typer.Option(help="Dollars at most.")] = None,
    budget_calls: Annotated[
        int | None, typer.Option(help="Model calls at most; default: one and a half times what --dry-run says.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say calls and dollars; ask no model.")] = False,
    out: Out = None,
    open: Open = False,
    as_json: Json = False,
) -> None:
    """Put variants side by side on the same dev examples: scores, cost, and every answer on one HTML page.

    At most ten. What was answered before a cap is kept, so the same command goes on. Text from production that no
    person released is shown by its score alone. Dev examples are no evidence: `detent study confirm` gives that.

    Examples:
      detent variant compare triage champion file --dry-run
      detent variant compare triage champion file v_1a2b3c4d5e6f --examples 50 --out compare.html
    """
    from optimizer.cli.variant.find import find_variant
    from optimizer.core.base.answers import members_of
    from optimizer.core.base.values import Budget
    from optimizer.core.views.variant_grid import as_record
    from optimizer.jobs.studies.compare_variants import compare_variants, estimate_comparison
    from optimizer.runtime import wiring

    session = Session()
    declared = session.family(family)
    found = [find_variant(session, family, name).variant for name in variants]
    models = wiring.open_models(session.settings)
    if dry_run:
        made = estimate_comparison(declared, found, n=examples, store=session.store, models=models)
        show(
            as_json,
            {"dry_run": True, **members_of(made)},
            lambda screen: _view_estimate(screen, family, made, variants, examples),
        )
        return
    session.before_change()
    try:
        context = wiring.job_context(
            session.settings, session.store, session.clock, session.families, models, yields=False
        )
        budget = Budget(usd=budget_usd, calls=budget_calls)
        grid = compare_variants(context, declared, found, n=examples, budget=budget)
    finally:
        models.close()
    name = f"compare-{family}-{'-'.join(one.id.removeprefix('v_') for one in found)}"
    path = write_page(session, wiring.grid_page(grid), name=name[:120], out=out)
    if out != STDOUT:
        show(as_json, {**as_record(grid), "path": str(path)}, lambda screen: _view(screen, grid))
        say(f"Every answer: {path}")
    if open and path is not None:
        typer.launch(path.as_uri())


def _view_estimate(out: Console, family: str, made: ComparisonEstimate, names: list[str], n: int) -> None:
    out.print(
        f"{family}: {count(len(made.variants), 'variant')} on {count(made.n, 'dev example')}",
        style="bold",
        markup=False,
    )
    out.print(f"Models    {', '.join(made.models)}", markup=False)
    out.print(f"Calls     at most {made.calls.high:,}; what the journal answers is not asked", markup=False)
    usd = (
        f"{dollars(made.usd.expected)} expected, at most {dollars(made.usd.high)}" if made.usd is not None else NO_PRICE
    )
    out.print(f"Dollars   {usd}", markup=False)
    out.print(f"Next      detent variant compare {family} {' '.join(names)} --examples {n}", markup=False)


def _view(out: Console, grid: VariantGrid) -> None:
    first = grid.columns[0].letter
    headings = {
        "letter": "",
        "variant": "Variant",
        "score": "Score (95 %)",
        "lead": f"Lead over {first} (95 %)",
        "beside": "Better/same/worse",
        "usd": "$ an answer",
        "p95": "p95 ms",
        "n_errors": "Errors",
    }
    table([_column(c) for c in grid.columns], headings, empty="")(out)
    different = [row for row in grid.rows if row.differs]
    out.print(
        f"The answers differ on {len(different)} of {count(len(grid.rows), grid.split + ' example')}.", markup=False
    )
    if different:
        letters = {c.letter: c.letter for c in grid.columns}
        table(
            [_row(row, list(letters)) for row in different[:N_ROWS]],
            {"input": "Input", "expected": "Expected", **letters},
            empty="",
        )(out)
    spent = NO_PRICE if grid.spent_usd is None else f"{dollars(grid.spent_usd)} spent"
    out.print(f"{count(grid.n_calls, 'call')} made, {spent}; the journal answered what was asked before", markup=False)
    last = grid.columns[-1].variant.id
    out.print(f"Dev examples are no evidence. Next: detent study confirm {grid.family} {last} --dry-run", markup=False)


def _column(c: GridColumn) -> dict[str, Any]:
    score = (
        "none"
        if c.score is None or c.interval is None
        else f"{c.score:.3f} ({c.interval.lower:.3f} to {c.interval.upper:.3f})"
    )
    found = c.beside
    lead = (
        "" if found is None else f"{signed(found.lift)} ({signed_interval(found.interval.lower, found.interval.upper)})"
    )
    return {
        "letter": c.letter,
        "variant": c.variant.id,
        "score": score,
        "lead": lead,
        "n_errors": c.n_errors,
        "beside": "" if found is None else f"{found.wins}/{found.ties}/{found.losses}",
        "usd": dollars(c.usd_per_answer),
        "p95": "" if c.p95_ms is None else f"{c.p95_ms:.0f}",
    }


def _row(row: GridRow, letters: list[str]) -> dict[str, str]:
    hidden = "(not released)"
    asked = _short(" ".join(map(str, row.input.values()))) if row.is_shown else hidden
    wanted = _short(" ".join(map(str, row.expected.values()))) if row.is_shown else ""
    answers = {letter: _answer(result, row.is_shown) for letter, result in zip(letters, row.results, strict=True)}
    return {"input": asked, "expected": wanted, **answers}


def _answer(result: ExampleResult, is_shown: bool) -> str:
    score = "–" if result.score is None else f"{result.score:.2f}"
    return f"{score} {_short(result.output or result.error or '') if is_shown else ''}".strip()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_CHARS else f"{line[: TEXT_CHARS - 1]}…"
