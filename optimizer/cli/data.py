"""``detent data``: what is kept of people, and for how long."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli import later
from optimizer.cli.output import Json, say, show_report, table, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from optimizer.jobs.upkeep.prune_records import PruneCount

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
    from optimizer.jobs.upkeep.prune_records import PruneRequest, prune

    client = Session().client
    sums: dict[tuple[str, str | None], PruneCount] = {}
    while True:
        report = client.ask(prune, PruneRequest(dry_run=dry_run))
        for row in report.items:
            before = sums.get((row.rows, row.family))
            sums[row.rows, row.family] = replace(row, n=row.n + (before.n if before is not None else 0))
        if not report.more:
            break
    deleted = [row for row in sums.values() if row.n]
    total = replace(report, items=list(sums.values()))
    empty = "Nothing is older than its retention."
    show_report(as_json, prune, total, table([asdict(row) for row in deleted], COLUMNS, empty=empty))
    for family_left in report.left_alone:
        say(f"Everything of {family_left.family} stays: {family_left.why}, so nothing says how long it may be kept.")
    n = count(sum(row.n for row in deleted), "row")
    if deleted and not dry_run:
        tell_change(f"{n} deleted.", why="older than its retention", undo="none, but from a backup", then="")
    elif deleted:
        say(f"{n} would be deleted. Do it now: detent data prune")
