"""``detent data``: what is kept of people, and for how long."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli import later
from optimizer.cli.output import Json, say, show, table, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

app = typer.Typer(
    name="data", no_args_is_help=True, help="What is kept of people: delete what is older than its retention."
)
for name, purpose in later.DATA.items():
    later.add(app, name, f"data {name}", purpose)
COLUMNS = {
    "family": "Family",
    "rows": "Rows",
    "n": "How many",
    "before": "From before",
    "retain_days": "Days",
    "held_by": "Older ones stay",
}


@app.command()
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, per family and table; delete nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete texts and records that are older than their retention now; the worker does it once a day.

    There is no undo but a backup.

    Example: detent data prune --dry-run
    """
    report = Session().operations.prune(dry_run=dry_run)
    gone = [row for row in report["items"] if row["n"]]
    show(as_json, report, table(gone, COLUMNS, empty="Nothing is older than its retention."))
    for left in report["left_alone"]:
        say(f"Everything of {left['family']} stays: {left['why']}, so nothing says how long it may be kept.")
    n = count(sum(row["n"] for row in gone), "row")
    if gone and not dry_run:
        tell_change(f"{n} deleted.", why="older than its retention", undo="none, but from a backup", then="")
    elif gone:
        say(f"{n} would be deleted. Do it now: detent data prune")
