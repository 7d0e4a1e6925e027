"""``detent quality``: how good answers are, over a time or turn by turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import Json, cell, dollars, percent, print_facts, say, show_report, table, when
from optimizer.cli.progress import POLL_S, poll
from optimizer.cli.session import Session
from optimizer.core.base.answers import members_of, shown
from optimizer.core.base.phrasing import count, printable_json
from optimizer.runtime.use_cases import as_json_of

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.quality import ConversationQuality, ConversationTurn, QualityAnalytics

app = typer.Typer(name="quality", no_args_is_help=True, help="How good answers are, over a time or turn by turn.")
Range = Annotated[str, typer.Option("--range", help="How far back it is looked: 30m, 24h, 7d; at most 31d.")]
OneFamily = Annotated[str | None, typer.Option(help="Of this family alone; default: all of them.")]
KINDS = {
    "judged": "judged, as a judge scored",
    "calibrated": "of these, calibrated to ratings",
    "labelled": "labelled",
    "reported": "reported by applications",
}


@app.command()
def analytics(range_: Range = "24h", family: OneFamily = None, as_json: Json = False) -> None:
    """Scores by band and by who gave them, common issues, models, dollars in all and per query.

    Example: detent quality analytics --range 24h
    """
    from optimizer.jobs.champions.read_quality import read_analytics

    Session().show(as_json, read_analytics, _tell_analytics, range=range_, family=family)


def _tell_analytics(out: Console, report: QualityAnalytics) -> None:
    print_facts(
        out,
        ("Time", f"{when(report.since)} to {when(report.until)}"),
        ("Requests", f"{count(report.n_interactions, 'interaction')}, {report.n_errors:,} failed"),
        ("Dollars", f"{_cost(report)} in all, {dollars(report.cost_per_query_usd)} a query"),
        ("Success", [f"{each.share:.1%} of {each.n_labelled:,} ({each.source})" for each in report.success]),
    )
    scores = [
        {
            "kind": KINDS[each.kind] + (f" by {each.source}" if each.kind == "labelled" else ""),
            "n": each.n,
            "mean": each.mean,
            **{str(band.low): f"{band.n:,} ({percent(band.share)})" for band in each.bands},
        }
        for each in report.scores
    ]
    bands = {"0.95": ".95 to 1", "0.9": ".90 to .95", "0.8": ".80 to .90", "0.0": "below .80"}
    empty = "No answer was scored in this time: no judge, no person and no application gave a score."
    table(scores, {"kind": "Scores", "n": "n", "mean": "Mean", **bands}, empty=empty)(out)
    for each in report.uncalibrated:
        scored = count(each.n, "score")
        out.print(f"Not calibrated: {scored} of {each.family}: {each.cause}.", markup=False)
    issues = [{**members_of(each), "issue": shown(each.issue)} for each in report.issues]
    checked = f" The checks of {count(report.n_checked, 'policy run')} were read." if report.n_checked else ""
    table(issues, {"issue": "Issue", "found_by": "Found by", "n": "n"}, empty=f"No issue was named.{checked}")(out)
    models = [{**members_of(each), "cost": _cost(each)} for each in report.models]
    columns = {
        "model": "Model",
        "n_interactions": "Interactions",
        "n_errors": "Errors",
        "cost": "Cost",
        "cost_per_query_usd": "$ a query",
        "mean_latency_ms": "Mean ms",
        "p95_latency_ms": "p95 ms",
    }
    table(models, columns, empty="No interaction was summed up in this time.")(out)
    summed = when(report.summed_until) if report.summed_until else "nothing yet"
    say(f"Interactions, dollars and models are summed up until: {summed}.")


def _cost(of: Any) -> str:
    """Dollars, and of how many requests no cost is known."""
    left = of.n_interactions - of.n_with_cost
    return dollars(of.cost_usd) + (f" (no cost known of {left:,})" if left and of.cost_usd is not None else "")


@app.command()
def monitor(
    conversation: Annotated[str, typer.Option(help="The conversation, as its interactions name it.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on with each new turn and score, until Ctrl-C.")] = False,
    range_: Range = "24h",
    family: OneFamily = None,
    as_json: Json = False,
) -> None:
    """A conversation turn by turn: the score of each, whose it is, and what the judge said.

    With --follow and --json, one line of JSON for each turn that is new or newly scored.

    Example: detent quality monitor --conversation c-17 --follow
    """
    from optimizer.jobs.champions.read_quality import read_conversation

    session = Session()
    members = {"conversation": conversation, "range": range_, "family": family}
    if not follow:
        session.show(as_json, read_conversation, _tell_conversation, **members)
        return
    seen: dict[tuple[str, str], ConversationTurn] = {}
    answers = poll(lambda: session.ask(read_conversation, **members), POLL_S, of_server=session.server is not None)
    try:
        for report in answers:
            fresh = {key: turn for turn in report.turns if seen.get(key := (turn.family, turn.interaction)) != turn}
            if as_json:
                for line in as_json_of(read_conversation, report)["turns"]:
                    if (line["family"], line["interaction"]) in fresh:
                        print(printable_json(json.dumps(line, ensure_ascii=False)), flush=True)
            else:
                show_report(False, read_conversation, report, lambda out: _tell_turns(out, fresh.values()))  # noqa: B023
            seen |= fresh
    except KeyboardInterrupt:
        say(f"{count(len(seen), 'turn')} of {conversation} seen.")


def _tell_conversation(out: Console, report: ConversationQuality) -> None:
    if not report.turns:
        say(f"No turn of {report.conversation or 'this conversation'} came since {when(report.since)}.")
        return
    _tell_turns(out, report.turns)
    n = len(report.turns)
    scored = f"{report.n_scored} of {count(n, 'turn')} scored"
    mean = f", mean {report.mean_score:.3f}, lowest {report.lowest_score:.3f}" if report.n_scored else ""
    cut = f" The newest {n} turns are shown." if report.is_cut else ""
    print_facts(out, ("Quality", f"{scored}{mean}.{cut}"), ("Dollars", dollars(report.cost_usd)))


def _tell_turns(out: Console, turns: Any) -> None:
    for turn in turns:
        score = f"{turn.score:.3f} ({turn.scored_by})" if turn.score is not None else "not scored"
        model = f"{turn.model or '–'}, {cell(turn.latency_ms)} ms, {dollars(turn.cost_usd)}"
        out.print(f"{when(turn.received_at)}  {turn.family}  {score}", style="bold", markup=False)
        texts = [("Asked", turn.input), ("Answer", turn.output), ("Failed", turn.error if turn.failed else None)]
        outcomes: list[str] = []
        for each in turn.outcomes:
            figures = [
                *([f"{each.score:.3f}"] if each.score is not None else []),
                *([f"calibrated {each.calibrated:.3f}"] if each.calibrated is not None else []),
                *([{True: "success", False: "no success"}[each.success]] if each.success is not None else []),
                *([str(each.label)] if each.label else []),
            ]
            why = f": {each.reasoning}" if each.reasoning else ""
            outcomes.append(f"{each.kind} by {each.source}: {', '.join(figures) or 'no figure'}{why}")
        print_facts(
            out,
            ("Id", f"{turn.interaction} ({model})"),
            *(
                (label, json.dumps(text, ensure_ascii=False) if isinstance(text, dict) else text)
                for label, text in texts
            ),
            ("Not scored", turn.why_unscored),
            ("Scores", outcomes),
        )
