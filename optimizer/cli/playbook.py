"""``detent playbook``: what a family has learned, entry by entry, and a person's word on an entry."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import typer

from optimizer.cli.output import FamilyName, Json, Reason, show_report, table
from optimizer.cli.session import Session, check_one_of

app = typer.Typer(
    name="playbook", no_args_is_help=True, help="What a family has learned from failures: show, retire, restore."
)
EntryId = Annotated[str, typer.Argument(help="Id of the entry.", show_default=False)]
COLUMNS = {
    "id": "Entry",
    "kind": "Kind",
    "text": "Text",
    "helpful": "Helped",
    "harmful": "Harmed",
    "n_evidence": "Examples",
    "state": "State",
    "reason": "Why",
}


@app.command("show")
def show_playbook(
    family: FamilyName,
    state: Annotated[str, typer.Option(help="active, merged, retired or all.")] = "all",
    as_json: Json = False,
) -> None:
    """Show the entries with their counts; --json names the examples that each was learned from.

    Example: detent playbook show triage --state active
    """
    from optimizer.jobs.families.change_playbook import read_playbook

    check_one_of("--state", state, ("active", "merged", "retired", "all"))
    playbook = Session().ask(read_playbook, family=family)
    selection = replace(
        playbook, entries=[entry_view for entry_view in playbook.entries if state in ("all", entry_view.state)]
    )
    rows = [
        {
            **asdict(entry_view),
            "n_evidence": len(entry_view.evidence),
            "state": entry_view.state + (", served" if entry_view.served else ""),
            "reason": entry_view.reason + (f" ({entry_view.merged_into})" if entry_view.merged_into else ""),
        }
        for entry_view in selection.entries
    ]
    none = "no entry" if state == "all" else f"no {state} entry"
    hint = f"The playbook of {family} has {none}. A study writes one: detent study run {family} --strategy playbook"
    show_report(as_json, read_playbook, selection, table(rows, COLUMNS, empty=hint))


@app.command()
def retire(family: FamilyName, entry: EntryId, reason: Reason = None, as_json: Json = False) -> None:
    """Let no later section show an entry, and no study take it up again. What serves stays as it is.

    Example: detent playbook retire triage pb_0123456789ab --reason "it names a customer"
    """
    from optimizer.jobs.families.change_playbook import retire_entry

    Session().change(as_json, retire_entry, family=family, entry=entry, reason=reason or "")


@app.command()
def restore(family: FamilyName, entry: EntryId, reason: Reason = None, as_json: Json = False) -> None:
    """Make a retired or merged entry active again; the next study with strategy playbook tries it.

    Example: detent playbook restore triage pb_0123456789ab --reason "the model is another one now"
    """
    from optimizer.jobs.families.change_playbook import restore_entry

    Session().change(as_json, restore_entry, family=family, entry=entry, reason=reason or "")
