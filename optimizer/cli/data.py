"""``detent data``: what is kept, and for how long; how one leaves with it, and comes with it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli import later
from optimizer.cli.output import Json, say, show, show_report, table, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from optimizer.jobs.upkeep.prune_records import PruneCount

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="What is kept: delete what is too old, leave with all of it, bring it along.",
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
    from optimizer.jobs.upkeep.prune_records import prune

    session = Session()
    sums: dict[tuple[str, str | None], PruneCount] = {}
    while True:
        report = session.ask(prune, dry_run=dry_run)
        for row in report.items:
            before = sums.get((row.rows, row.family))
            sums[row.rows, row.family] = replace(row, n=row.n + (before.n if before is not None else 0))
        if not report.more:
            break
    deleted = [row for row in sums.values() if row.n]
    total = replace(report, items=list(sums.values()))
    show_report(
        as_json,
        prune,
        total,
        table([asdict(row) for row in deleted], COLUMNS, empty="Nothing is older than its retention."),
    )
    for family_left in report.left_alone:
        say(f"Everything of {family_left.family} stays: {family_left.why}, so nothing says how long it may be kept.")
    n = count(sum(row.n for row in deleted), "row")
    if deleted and not dry_run:
        tell_change(f"{n} deleted.", why="older than its retention", undo="none, but from a backup", then="")
    elif deleted:
        say(f"{n} would be deleted. Do it now: detent data prune")


@app.command("export")
def export_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", show_default=False)],
    sealed: Annotated[
        bool,
        typer.Option("--sealed", help="The holdout too, in a file of its own; counts as a look at every example."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write everything that is kept: JSON lines per table, families, prompts as YAML, a manifest of counts and hashes.

    No secret is in it. What the sealed holdout is in stays out, or loses its texts. Servers go on meanwhile. The folder
    has its name once it is whole.

    Examples:
      detent data export leaving
      detent rollout verify --from leaving
    """
    from importlib.metadata import version

    from optimizer.jobs.upkeep.export_data import HomeFamilies, export_data

    session = Session()
    store, files = session.store, session.families
    folders = {
        name: place / name
        for place in (*session.settings.more_families_dirs, session.settings.families_dir)
        for name in files.families
        if (place / name / "family.yaml").is_file()
    }
    session.before_change()
    report = export_data(
        store,
        folder,
        families=HomeFamilies(declared=files.families, folders=folders),
        clock=session.clock,
        actor=session.actor,
        version=version("detent-server"),
        sealed=sealed,
    )
    show(as_json, report, lambda out: out.print(str(report.folder), markup=False))
    say(f"{count(sum(report.tables.values()), 'row')} of {count(len(report.tables), 'table')}.")
    if report.n_sealed is None:
        say(
            f"The sealed holdout is in {count(report.n_left_out, 'row')} that were left out, and in"
            f" {report.n_without_texts:,} that stand there without their texts."
        )
    else:
        say(f"sealed.jsonl holds {count(report.n_sealed, 'row')}; each of its examples counts one look more.")
    for left in report.not_in_it:
        say(f"Not in it: {left}.")
    say(f"Next: detent rollout verify --from {folder}; in an empty home: detent data import {folder.resolve()}")


@app.command("import")
def import_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What an export wrote.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Bring an export into an empty home: what served there serves here, and rollouts go on where they stood.

    Every file is checked against the manifest first. Keys, settings and models are yours to make.

    Example: DETENT_HOME=new-home detent data import leaving
    """
    from optimizer.runtime import import_home

    session = Session()
    settings = session.settings
    session.before_change()
    report = import_home.import_data(settings, folder, actor=session.actor)
    show(as_json, report)
    rows = count(sum(report.tables.values()), "row")
    tell_change(
        f"{rows} and {count(len(report.families), 'family', 'families')} are in {settings.home}.",
        why="",
        undo="remove its var/ and families/",
        then="make config/models.yaml and keys (detent keys create), then: detent doctor; detent serve",
    )
