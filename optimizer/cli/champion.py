"""``detent champion``: who serves, and back to the one before."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.change_report import show_change
from optimizer.cli.output import Json, show, table
from optimizer.cli.session import Session

app = typer.Typer(name="champion", no_args_is_help=True, help="The variant that serves: its history, and back by one.")

FamilyName = Annotated[str, typer.Argument(help="Name of the family.", show_default=False)]


@app.command()
def rollback(
    family: FamilyName,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    expect: Annotated[str | None, typer.Option(help="Only if this variant is the champion: safe to repeat.")] = None,
    as_json: Json = False,
) -> None:
    """Serve the champion before this one, at once. An active rollout ends first. Asks nothing.

    Example: detent champion rollback triage --reason "complaints since noon"
    """
    session = Session()
    session.family(family)
    show_change(as_json, session.operations.roll_back_champion(family, reason=reason, expect=expect))


@app.command()
def history(family: FamilyName, as_json: Json = False) -> None:
    """Every champion of a family: since when, why, by whom."""
    session = Session()
    session.family(family)
    with session.store.read() as tx:
        reigns = session.store.champions.history(tx, family)
    rows = [
        {
            "variant": r.variant,
            "since": r.since,
            "until": r.until,
            "by": r.by,
            "why": r.why + (" (forced)" if r.forced else ""),
        }
        for r in reversed(reigns)
    ]
    columns = {"variant": "Variant", "since": "Since", "until": "Until", "by": "By", "why": "Why"}
    show(as_json, {"items": reigns}, table(rows, columns, empty=f"{family} has had no champion yet."))
