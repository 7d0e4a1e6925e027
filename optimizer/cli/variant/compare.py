"""``detent variant compare``: prompts side by side on the same dev examples,
short in the terminal and whole on a page.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.doctor.keys import say_unset_keys
from optimizer.cli.family.evaluate_view import NO_PRICE, price_text
from optimizer.cli.output import FamilyName, Json, dollars, one_line, print_facts, say, show, show_report, table
from optimizer.cli.report_file import STDOUT, Open, Out, write_page
from optimizer.cli.session import Session
from optimizer.core.base.errors import DetentError, Refused
from optimizer.core.base.phrasing import count, signed, signed_interval
from optimizer.runtime.use_cases import as_json_of

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.variant_grid import GridColumn, VariantGrid
    from optimizer.jobs.runs.create_comparison import ComparisonEstimate

N_ROWS = 8  # in the terminal
TEXT_CHARS = 40


def compare(
    family: FamilyName,
    variants: Annotated[
        list[str], typer.Argument(help="Ids, or champion, candidate, file; the others are held against the first.")
    ],
    examples: Annotated[int, typer.Option("--examples", "-n", help="Dev examples at most.", min=1)] = 50,
    example_id: Annotated[
        list[str] | None, typer.Option(help="This dev example in the place of a draw; may be repeated.")
    ] = None,
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

    Where a server runs its worker asks the models, and the command waits; Ctrl-C stops it.

    At most ten. What was answered before a cap is kept, so the same command goes on. Text from production that no
    person released is shown by its score alone. Dev examples are no evidence: `detent study confirm` gives that.

    Examples:
      detent variant compare triage champion file --dry-run
      detent variant compare triage champion file v_1a2b3c4d5e6f --examples 50 --out compare.html
    """
    from optimizer.adapters.reports.study_report import grid_page
    from optimizer.cli.progress import follow_run
    from optimizer.core.family.variant import Variant
    from optimizer.jobs.champions.read_variants import read_named_variant
    from optimizer.jobs.runs.create_comparison import (
        ComparisonEstimate,
        read_comparison,
        read_grid,
        start_comparison,
        stop_comparison,
    )

    session, budget = Session(), {"usd": budget_usd, "calls": budget_calls}
    started = session.ask(
        start_comparison,
        family=family,
        variants=variants,
        n=examples,
        example_ids=example_id or None,
        budget=budget,
        dry_run=dry_run,
    )
    if isinstance(started, ComparisonEstimate):
        view = partial(_view_estimate, family=family, estimate=started, names=variants, n=examples)
        show_report(as_json, start_comparison, started, view)
        say_unset_keys(session, family)
        return

    def stop(_: bool) -> None:
        with suppress(DetentError):
            session.ask(stop_comparison, id=started.id)

    run = follow_run(session, started.id, read_comparison, quiet=as_json, left=stop)
    if run.status == "cancelled" or run.result is None:
        raise Refused(f"The comparison {run.id} was stopped; what was answered is kept.")
    if run.result["stopped"] is not None:
        remark = "What was answered is kept: the same command with a higher cap goes on from there"
        raise Refused(f"{run.result['stopped']} {remark} (--dry-run says how much it takes).")
    grid = session.ask(read_grid, id=run.id)
    views = [session.ask(read_named_variant, family=run.family, name=id) for id in run.request["variants"]]
    compared = [Variant.from_content(as_json_of(read_named_variant, view)) for view in views]
    name = f"compare-{run.family}-{'-'.join(view.variant.removeprefix('v_') for view in views)}"
    path = write_page(session, grid_page(grid, compared), name=name[:120], out=out)
    if out != STDOUT:
        show(as_json, {**as_json_of(read_grid, grid), "path": str(path)}, lambda screen: _view(screen, grid))
        say(f"Every answer: {path}")
    if open and path is not None:
        typer.launch(path.as_uri())


def _view_estimate(out: Console, family: str, estimate: ComparisonEstimate, names: list[str], n: int) -> None:
    out.print(
        f"{family}: {count(len(estimate.variants), 'variant')} on {count(estimate.n, 'dev example')}",
        style="bold",
        markup=False,
    )
    print_facts(
        out,
        ("Models", ", ".join(estimate.models)),
        ("Calls", f"at most {estimate.calls.high:,}; what the journal answers is not asked"),
        ("Dollars", price_text(estimate.usd)),
        ("Next", f"detent variant compare {family} {' '.join(names)} --examples {n}"),
    )


def _view(out: Console, grid: VariantGrid) -> None:
    columns = grid["variants"]
    first = columns[0]["letter"]
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
    is_priced = grid["spent_usd"] is not None
    table([_column(c, is_priced=is_priced) for c in columns], headings, empty="")(out)
    n_different, gone = grid["n_different"], grid["n_gone"]
    left_out = f" Left out: {count(gone, 'example')} whose texts are gone." if gone else ""
    out.print(
        f"The answers differ on {n_different} of {count(grid['n'], grid['split'] + ' example')}.{left_out}",
        markup=False,
    )
    if n_different:
        letters = [c["letter"] for c in columns]
        rows: list[dict[str, str]] = []
        for row in grid["rows"][: min(n_different, N_ROWS)]:
            inputs, wanted = row["input"], row["expected"]
            answers = {}
            for letter, answer in zip(letters, row["answers"], strict=True):
                score = "–" if answer["score"] is None else f"{answer['score']:.2f}"
                text = one_line(answer["output"] or answer["error"] or "", TEXT_CHARS)
                answers[letter] = f"{score} {text}".strip()
            rows.append(
                {
                    "input": "(not released)"
                    if inputs is None
                    else one_line(" ".join(map(str, inputs.values())), TEXT_CHARS),
                    "expected": "" if wanted is None else one_line(" ".join(map(str, wanted.values())), TEXT_CHARS),
                    **answers,
                }
            )
        table(
            rows,
            {"input": "Input", "expected": "Expected", **dict(zip(letters, letters, strict=True))},
            empty="",
        )(out)
    spent = NO_PRICE if grid["spent_usd"] is None else f"{dollars(grid['spent_usd'])} spent"
    out.print(
        f"{count(grid['n_calls'], 'call')} made, {spent}; the journal answered what was asked before", markup=False
    )
    last = columns[-1]["variant"]
    out.print(
        f"Dev examples are no evidence. Next: detent study confirm {grid['family']} {last} --dry-run", markup=False
    )


def _column(c: GridColumn, *, is_priced: bool) -> dict[str, Any]:
    score, lead, beside = "none", "", ""
    if c["score"] is not None:
        score = f"{c['score']:.3f} ({c['score_low']:.3f} to {c['score_high']:.3f})"
    if "lead" in c:
        lead = f"{signed(c['lead'])} ({signed_interval(c['lead_low'], c['lead_high'])})"
        beside = f"{c['wins']}/{c['ties']}/{c['losses']}"
    return {
        "letter": c["letter"],
        "variant": c["variant"],
        "score": score,
        "lead": lead,
        "beside": beside,
        "usd": dollars(c["usd_per_answer"]) if is_priced else "–",
        "p95": "" if c["p95_ms"] is None else f"{c['p95_ms']:.0f}",
        "n_errors": c["n_errors"],
    }
