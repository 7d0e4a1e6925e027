"""``detent data``: what is kept, and for how long; how one leaves with it, and comes with it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, say, show, show_report, table, tell_change
from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from optimizer.jobs.upkeep.prune_records import PruneCount

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="What is kept: delete what is too old, leave with all of it, bring it along.",
)
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
    show_report(
        as_json,
        prune,
        replace(report, items=list(sums.values())),
        table([asdict(row) for row in deleted], COLUMNS, empty="Nothing is older than its retention."),
    )
    for family_left in report.left_alone:
        say(f"Everything of {family_left.family} stays: {family_left.why}, so nothing says how long it may be kept.")
    n = count(sum(row.n for row in deleted), "row")
    if deleted and not dry_run:
        tell_change(f"{n} deleted.", why="older than its retention", undo="none, but from a backup", then="")
    elif deleted:
        say(f"{n} would be deleted. Do it now: detent data prune")


@app.command()
def forget(
    unit: Annotated[str, typer.Option("--unit", help="The person's unit, as it was sent.", show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, place by place; delete nothing.")
    ] = False,
    confirm: Annotated[str | None, typer.Option(help="The unit again: there is no undo.", show_default=False)] = None,
    own_words: Annotated[
        bool,
        typer.Option("--own-words", help="What families' files say word for word is theirs, and stays."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Forget a person: delete what they said, and what was made of it, wherever this home keeps it.

    Sums, blocks and decisions stay, so that rollouts still verify. Prompts that quote the person go; where one is
    champion, the first one before it that does not quote them serves. Where a server runs its worker does it, and the
    command waits; it goes on when the command is ended. There is no undo.

    Examples:
      detent data forget --unit user-4711 --dry-run
      detent data forget --unit user-4711 --confirm user-4711
    """
    from optimizer.cli.progress import follow_run
    from optimizer.jobs.upkeep.forget_person import forget_person, read_forgetting

    session = Session()
    queued = session.ask(forget_person, unit=unit, confirm=confirm, own_words=own_words, dry_run=dry_run)
    run = follow_run(
        session, queued.id, read_forgetting, quiet=as_json, left=lambda _: say(f"It goes on as {queued.id}.")
    )
    assert run.result is not None  # of one that has finished
    columns = {"place": "Where", "n": "How many"}
    rows = [dict(place) for place in run.result["places"]]
    show_report(as_json, read_forgetting, run, table(rows, columns, empty="Nothing of this person was found."))
    for family, variants in run.result["variants"].items():
        serves = run.result["champions"].get(family)
        after = f"; {serves} {'would serve' if dry_run else 'serves'} there" if serves is not None else ""
        say(f"{family}: {', '.join(variants)} {'quote' if len(variants) > 1 else 'quotes'} the person{after}.")
    for sentence in (*run.result["first"], *run.result["not_reached"]):
        say(sentence, "yellow")
    if dry_run:
        say("Nothing was deleted. Do it: the same with --confirm UNIT in the place of --dry-run.")
    else:
        tell_change(f"The person is forgotten ({run.id}).", why="", undo="none", then="")


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
    has its name once it is whole. With --server it is of that server, by a key of role admin, and the folder here.

    Examples:
      detent data export leaving
      detent rollout verify --from leaving
    """
    from optimizer.runtime.export_home import export_home, export_of_server

    session = Session()
    session.before_change()
    if chosen_server() is not None and session.server is not None:
        report = export_of_server(session.server, folder, sealed=sealed)
    else:
        report = export_home(session.context, folder, sealed=sealed)
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
    here, everywhere = quote(str(folder)), quote(str(folder.resolve()))
    say(f"Next: detent rollout verify --from {here}; in an empty home: detent data import {everywhere}")


@app.command("import")
def import_data(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What an export wrote.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Bring an export into an empty home: what served there serves here, and rollouts go on where they stood.
    Studies and runs that had not ended are cancelled, and none starts by itself.

    Every file is checked against the manifest first. Keys, settings and models are yours to make.

    Example: DETENT_HOME=new-home detent data import leaving
    """
    from optimizer.runtime import import_home, wiring

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
    if cancelled := (*report.studies, *report.runs):
        say(
            f"Not ended there, and cancelled here: {', '.join(cancelled)}. Where the old home goes on with no study:"
            " detent study resume ID",
            "yellow",
        )
    if report.schedules:
        say("No study starts by itself here. To let them:", "yellow")
        for command in report.schedules:
            say(f"  {command}", "yellow")
    if not report.unit_keys or {*report.unit_keys} - {*wiring.open_secrets(settings).unit_key_names}:
        say(
            "The keys that hash its units stayed behind. Without them nobody whom it names can be forgotten by unit."
            f" Before this home serves, copy unit.key (and unit.older) of the old home into {settings.var()}/keys.",
            "yellow",
        )
