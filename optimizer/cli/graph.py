"""``detent graph``: the repairs that a model proposes for a graph, and a person's word on each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import FamilyName, Json, Reason, say, show_report, table
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.answers import members_of
from optimizer.core.base.phrasing import count, printable_json

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.graph import GraphSummary, GraphView
    from optimizer.jobs.feedback.repair_graphs import DecisionReport

app = typer.Typer(
    name="graph", no_args_is_help=True, help="Repairs that a model proposes for a graph: list, approve, reject."
)
Repair = Annotated[str, typer.Argument(help="Id of the repair.", show_default=False)]
COLUMNS = {
    "id": "Repair",
    "family": "Family",
    "what": "What",
    "status": "Status",
    "conflicts_with": "Conflicts with",
    "why_not": "Why not",
}


@app.command()
def propose(
    family: FamilyName,
    interaction: Annotated[
        str, typer.Argument(help="Id of the interaction that verified a graph.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Put the repairs that an answer proposes before a person; each is pending until it is decided.

    Example: detent graph propose graph_verification in_01…
    """
    from optimizer.jobs.feedback.repair_graphs import propose_repairs

    proposal = Session().show(
        as_json,
        propose_repairs,
        lambda out, proposal: table(_rows(proposal), COLUMNS, empty="The answer proposes no repair.")(out),
        family=family,
        interaction=interaction,
    )
    for repair in proposal.unreadable:
        say(f"Number {repair.index + 1} of the answer is no repair: {repair.detail or 'its text is not shown'}.")
    if not as_json and proposal.n_pending:
        say(
            f"{count(proposal.n_pending, 'repair')} pending. Next: detent graph approve REPAIR or detent graph reject"
            f" REPAIR; all of them: detent graph show {proposal.id}"
        )


@app.command("list")
def list_graphs(
    family: Annotated[str | None, typer.Option(help="Only of this family.")] = None,
    status: Annotated[str, typer.Option(help="pending, decided (no repair is pending) or all.")] = "pending",
    limit: Annotated[int, typer.Option(help="At most so many graphs.", min=1, max=1000)] = 100,
    as_json: Json = False,
) -> None:
    """Show the repairs that wait for a decision, oldest first.

    Example: detent graph list --family graph_verification
    """
    check_one_of("--status", status, ("pending", "decided", "all"))
    from optimizer.jobs.feedback.repair_graphs import read_graphs

    pending = None if status == "all" else status == "pending"
    session = Session()
    if family is not None:
        session.family_view(family)
    page = session.show_page(
        as_json,
        read_graphs,
        COLUMNS,
        family=family,
        pending=pending,
        limit=limit,
        rows=lambda page: [
            row for graph in page.items for row in _rows(graph) if not pending or row["status"] == "pending"
        ],
        empty="No repair waits for a decision." if pending else "No graph has been put before a person.",
    )
    if page.next_cursor is not None:
        say(f"There are more graphs than {limit}; --limit shows up to 1,000.")


@app.command("show")
def show_graph(
    graph: Annotated[str, typer.Argument(help="Id of the graph.", show_default=False)],
    repaired: Annotated[
        bool, typer.Option("--repaired", help="Print the repaired graph alone, as JSON: for a file or a program.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a graph with its repairs, and as it is with those that were approved.

    Example: detent graph show gr_01… --repaired > graph.json
    """
    from optimizer.jobs.feedback.repair_graphs import read_graph

    view = Session().ask(read_graph, id=graph)
    if repaired:
        print(printable_json(json.dumps(view.repaired, ensure_ascii=False, indent=2)))
        return
    show_report(as_json, read_graph, view, lambda out: _print_graph(out, view))


@app.command()
def approve(repair: Repair, reason: Reason = None, as_json: Json = False) -> None:
    """Carry a pending repair out. Refused where the graph no longer has what it is about.

    There is no undo: an approval counts as feedback.

    Example: detent graph approve gr_01….2 --reason "the text denies it"
    """
    from optimizer.jobs.feedback.repair_graphs import approve_repair

    _tell(Session().change(as_json, approve_repair, id=repair, reason=reason or ""))


@app.command()
def reject(repair: Repair, reason: Reason = None, as_json: Json = False) -> None:
    """Leave the graph as it is without a pending repair. There is no undo: a rejection counts as feedback.

    Example: detent graph reject gr_01….2 --reason "the text says so in its last line"
    """
    from optimizer.jobs.feedback.repair_graphs import reject_repair

    _tell(Session().change(as_json, reject_repair, id=repair, reason=reason or ""))


def _tell(report: DecisionReport) -> None:
    if report.no_longer:
        say(f"  No longer apply: {', '.join(report.no_longer)}")
    if report.why_no_feedback:
        say(f"  It counts as no feedback: {report.why_no_feedback}")


def _print_graph(out: Console, view: GraphView) -> None:
    table(_rows(view), COLUMNS, empty="The answer proposes no repair.")(out)
    for name, value in (view.input or {}).items():
        out.print(f"{name}: {value}", markup=False)
    for name, graph in (("given", view.given), ("repaired", view.repaired)):
        out.print(f"{name}: {json.dumps(graph, ensure_ascii=False)}", markup=False)


def _rows(graph: GraphSummary) -> list[dict[str, Any]]:
    """The repairs of a graph as lines; another of the same graph is named by the end of its id, such as ``.2``."""
    return [
        {
            **members_of(repair),
            "family": graph.family,
            "conflicts_with": ", ".join(other.repair.removeprefix(graph.id) for other in repair.conflicts) or None,
        }
        for repair in graph.repairs
    ]
