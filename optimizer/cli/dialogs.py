"""``detent dialogs``: what users ask, and queries of theirs that may become golden scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import FamilyName, Json, Reason, one_line, percent, print_facts, say, table, when
from optimizer.cli.session import Session
from optimizer.core.base.answers import shown
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.dialogs import DialogAnalysis

app = typer.Typer(name="dialogs", no_args_is_help=True, help="What users ask: analyze it, offer golden scenarios.")
LINE_CHARS = 60  # of a query in a table
KINDS = {"suggestions": "Suggested", "issues": "Issue", "worked_well": "Worked"}


@app.command()
def analyze(
    range_: Annotated[
        str, typer.Option("--range", help="How far back it is looked: 30m, 24h, 7d; at most 31d.")
    ] = "7d",
    family: Annotated[str | None, typer.Option(help="Of this family alone; default: all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Common queries with their shares, slow and failed ones, families that nobody asks, and ideas.

    Queries are grouped by the words they share, without a model; each idea names the command that follows.

    Examples:
      detent import dialogs/ --family support
      detent dialogs analyze --family support --range 7d
    """
    from optimizer.jobs.champions.read_dialogs import read_dialogs

    Session().show(as_json, read_dialogs, _view, range=range_, family=family)


@app.command()
def offer(
    family: FamilyName,
    interactions: Annotated[list[str], typer.Argument(help="Ids, as the analysis names them.", show_default=False)],
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Put queries before a person, who says what should have been answered. Nothing is released by this.

    Example: detent dialogs offer support 001:001 014:002
    """
    from optimizer.jobs.feedback.collect_reviews import offer_scenarios

    Session().change(as_json, offer_scenarios, family=family, interactions=interactions, reason=reason or "")


def _view(out: Console, report: DialogAnalysis) -> None:
    print_facts(out, ("Time", f"{when(report.since)} to {when(report.until)}"))
    if not report.families:
        say("No query came in this time. Dialogs of other systems come by: detent import FOLDER --family FAMILY")
    for one in report.families:
        figures = one.figures
        out.print(f"\n{one.family}", style="bold", markup=False)
        times = f"{_ms(figures.mean_latency_ms)} on average, p95 {_ms(figures.p95_latency_ms)}"
        cut = "; only the newest were read" if one.is_cut else ""
        print_facts(
            out,
            ("Queries", f"{figures.n:,} in {count(one.n_conversations, 'conversation')}{cut}"),
            ("Time", f"{times} (of {figures.n_timed:,})"),
            ("Failed", f"{figures.n_failed:,} ({percent(figures.failed_share)})"),
            ("Repeated", f"{one.n_repeated:,} word for word" if one.n_repeated else None),
        )
        rows = [
            {
                "share": percent(query.share),
                "n": query.figures.n,
                "example": _line(query.example),
                "words": ", ".join(query.words or ()),
                "mean": _ms(query.figures.mean_latency_ms),
                "p95": _ms(query.figures.p95_latency_ms),
                "failed": percent(query.figures.failed_share),
                "interaction": query.interaction,
                "golden": "yes" if query.is_golden else "offered" if query.is_offered else "",
            }
            for query in one.common
        ]
        columns = {
            "share": "Share",
            "n": "n",
            "example": "Such as",
            "words": "Words",
            "mean": "Mean",
            "p95": "p95",
            "failed": "Failed",
            "interaction": "Interaction",
            "golden": "Golden",
        }
        table(rows, columns, empty=f"No query came three times or more among {one.n_with_text:,} whose text is kept.")(
            out
        )
        if one.common:
            out.print(f"{count(one.n_alone, 'query', 'queries')} like no others, or like too few.", markup=False)
        print_facts(
            out,
            (
                "Slowest",
                [f"{_ms(slow.latency_ms)}  {slow.interaction}  {_line(slow.text)}" for slow in one.slow],
            ),
            (
                "Failures",
                [f"{kind.n} times {_line(kind.error)}, last {kind.interaction}" for kind in one.failures],
            ),
            *(
                (KINDS[insight.kind], f"{shown(insight.text)} ({shown(insight.conversation)})")
                for insight in one.insights
            ),
        )
    if report.unused:
        print_facts(out, ("Not asked", ", ".join(report.unused)))
    for idea in report.ideas:
        print_facts(out, ("Idea", shown(idea.what)), ("", idea.command))


def _line(text: str | None) -> str:
    return one_line(text or "no text, or none that this key may read", LINE_CHARS)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"
