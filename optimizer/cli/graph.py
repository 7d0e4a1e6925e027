"""``detent graph``: the repairs that a model proposes for a graph, and a person's word on each."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import Json, say, show, table, tell_change
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.errors import NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.base.printable import printable_json
from optimizer.core.views.graph import graph_summary, graph_view

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.cli.operations.protocol import Answer
    from optimizer.core.graph.verified import Verdict

app = typer.Typer(
    name="graph", no_args_is_help=True, help="Repairs that a model proposes for a graph: list, approve, reject."
)
Repair = Annotated[str, typer.Argument(help="Id of the repair.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the record.")]
COLUMNS = {
    "id": "Repair", "family": "Family", "what": "What", "status": "Status", "conflicts_with": "Conflicts with",
    "why_not": "Why not",
}  # fmt: skip


@app.command()
def propose(
    family: Annotated[str, typer.Argument(help="Name of the family.", show_default=False)],
    interaction: Annotated[
        str, typer.Argument(help="Id of the interaction that verified a graph.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Put the repairs that an answer proposes before a person; each is pending until it is decided.

    Example: detent graph propose graph_verification in_01…
    """
    made = Session().operations.propose_repairs(family, interaction)
    show(as_json, made, table(_rows(made), COLUMNS, empty="The answer proposes no repair."))
    for one in made["unreadable"]:
        say(f"Number {one['index'] + 1} of the answer is no repair: {one['detail'] or 'this key reads no texts'}.")
    n = made["n_pending"]
    if not as_json and n:
        say(
            f"{count(n, 'repair')} pending. Next: detent graph approve REPAIR or detent graph reject REPAIR; all of"
            f" them: detent graph show {made['id']}"
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
    session = Session()
    if family is not None:
        session.family(family)
    pending = None if status == "all" else status == "pending"
    with session.store.read() as tx:
        found, more = session.store.graphs.page(tx, family=family, pending=pending, cursor=None, limit=limit)
    items = [asdict(graph_summary(graph)) for graph in found]
    rows = [row for item in items for row in _rows(item) if not pending or row["status"] == "pending"]
    show(
        as_json,
        {"items": items},
        table(
            rows,
            COLUMNS,
            empty="No repair waits for a decision." if pending else "No graph has been put before a person.",
        ),
    )
    if more is not None:
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
    session = Session()
    with session.store.read() as tx:
        found = session.store.graphs.get(tx, graph)
        if found is None:
            raise NotFound(f"There is no graph {graph!r}. See them with: detent graph list --status all.", graph=graph)
        asked = session.store.events.interaction(tx, found.interaction, found.family)
    shown = asdict(graph_view(found, asked.input if asked is not None else None))
    if repaired:
        print(printable_json(json.dumps(shown["repaired"], ensure_ascii=False, indent=2)))
        return
    show(as_json, shown, lambda out: _print_graph(out, shown))


@app.command()
def approve(repair: Repair, reason: Reason = None, as_json: Json = False) -> None:
    """Carry a pending repair out. Refused where the graph no longer has what it is about.

    There is no undo: an approval counts as feedback.

    Example: detent graph approve gr_01….2 --reason "the text denies it"
    """
    _decide(repair, "approved", reason, as_json)


@app.command()
def reject(repair: Repair, reason: Reason = None, as_json: Json = False) -> None:
    """Leave the graph as it is without a pending repair. There is no undo: a rejection counts as feedback.

    Example: detent graph reject gr_01….2 --reason "the text says so in its last line"
    """
    _decide(repair, "rejected", reason, as_json)


def _decide(repair: str, verdict: Verdict, reason: str | None, as_json: bool) -> None:
    done: Answer = Session().operations.decide_repair(repair, verdict, reason=reason)
    show(as_json, done, lambda out: None)
    tell_change(f"{done['what']}.", why=done["why"], undo=done["undo"], then=done["next"])
    if done["no_longer"]:
        say(f"  No longer apply: {', '.join(done['no_longer'])}")
    if done["why_no_feedback"]:
        say(f"  It counts as no feedback: {done['why_no_feedback']}")


def _print_graph(out: Console, shown: Answer) -> None:
    table(_rows(shown), COLUMNS, empty="The answer proposes no repair.")(out)
    for name, value in (shown["input"] or {}).items():
        out.print(f"{name}: {value}", markup=False)
    for name in ("given", "repaired"):
        out.print(f"{name}: {json.dumps(shown[name], ensure_ascii=False)}", markup=False)


def _rows(graph: Answer) -> list[dict[str, Any]]:
    """The repairs of a graph as lines; another of the same graph is named by the end of its id, such as ``.2``."""
    return [
        {
            **one,
            "family": graph["family"],
            "conflicts_with": ", ".join(other["repair"].removeprefix(graph["id"]) for other in one["conflicts"])
            or None,
        }
        for one in graph["repairs"]
    ]
