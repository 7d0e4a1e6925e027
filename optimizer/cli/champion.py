"""``detent champion``: who serves, another one at once, and back to the one before."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import FamilyName, Json, Reason
from optimizer.cli.session import Session
from optimizer.core.base.answers import members_of, shown

app = typer.Typer(
    name="champion", no_args_is_help=True, help="The variant that serves: its history, another at once, and back."
)


@app.command("set")
def set_champion(
    family: FamilyName,
    variant: Annotated[
        str,
        typer.Argument(help="The variant that shall serve: its id or a beginning of it, or file.", show_default=False),
    ],
    reason: Annotated[str, typer.Option(help="Why; kept in the record.")],
    confirm: Annotated[str | None, typer.Option(help="The family's name: past every gate, recorded as forced.")] = None,
    as_json: Json = False,
) -> None:
    """Serve a variant to every user now, past every gate; recorded as forced. An active rollout ends first.

    For an emergency: nobody is held back on the champion before, and a freeze does not stop it. Refused where the
    server does not know the variant's model. Undo: `detent champion rollback`.

    Example: detent champion set triage v_0a1b2c3d4e5f --reason "the new one swears" --confirm triage
    """
    from optimizer.jobs.rollouts.change_champion import set_champion

    session = Session()
    id = session.variant_id(family, variant)
    session.change(as_json, set_champion, family=family, variant=id, reason=reason, confirm=confirm)


@app.command()
def rollback(
    family: FamilyName,
    reason: Reason = None,
    expect: Annotated[
        str | None, typer.Option(help="Only if this variant is the champion: safe to repeat at any time.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="The earlier champion to go back to; default: the one before.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say which variant and model would serve, and what speaks against it; change nothing."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve the champion before this one, at once. An active rollout ends first. Asks nothing.

    Said again within ten minutes it changes nothing; to go further back, name the variant with --to. The line But says
    where users found it worse, or it cannot answer.

    Example: detent champion rollback triage --reason "complaints since noon"
    """
    from optimizer.jobs.rollouts.change_champion import roll_back_champion

    session = Session()
    earlier = session.variant_id(family, to) if to is not None else None
    session.change(
        as_json,
        roll_back_champion,
        family=family,
        reason=reason or "",
        expect=expect,
        to=earlier,
        dry_run=dry_run,
    )


@app.command()
def history(family: FamilyName, as_json: Json = False) -> None:
    """Every champion of a family: since when, why, by whom."""
    from optimizer.jobs.champions.read_variants import read_history

    Session().show_page(
        as_json,
        read_history,
        {"variant": "Variant", "since": "Since", "until": "Until", "by": "By", "why": "Why"},
        rows=lambda page: [
            {**members_of(r), "why": shown(r.why) + (" (forced)" if r.forced else "")} for r in reversed(page.items)
        ],
        empty=f"{family} has had no champion yet.",
        family=family,
    )
