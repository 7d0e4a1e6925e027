"""``detent freeze`` and ``detent unfreeze``: champions only, until somebody lets things go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, plain, show, tell_change
from optimizer.cli.session import Session

FamilyName = Annotated[str | None, typer.Argument(help="Name of the family; default: every family.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the record.")]


def register(app: typer.Typer) -> None:
    app.command()(freeze)
    app.command()(unfreeze)


def freeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """Serve champions only, at once: no candidate, no advance, no study. Asks nothing; survives restarts.

    Example: detent freeze triage --reason "launch day"
    """
    _change("freeze", family, reason, as_json)


def unfreeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """End a freeze. Rollouts go on where they stood with the worker's next tick.

    Example: detent unfreeze triage
    """
    _change("unfreeze", family, reason, as_json)


def _change(act: str, family: str | None, reason: str | None, as_json: bool) -> None:
    session = Session()
    if session.server is not None:
        _show(as_json, session.server.post(f"/v1/{act}", {"family": family, "reason": reason}))
        return
    from optimizer.jobs.rollouts import freeze as job

    carry_out = job.freeze if act == "freeze" else job.unfreeze
    _show(as_json, carry_out(family, reason, actor=session.actor, store=session.store, clock=session.clock))


def _show(as_json: bool, report: Any) -> None:
    values: Mapping[str, Any] = report if isinstance(report, Mapping) else plain(report)
    show(as_json, values, lambda out: None)
    tell_change(f"{values['what']}.", why=values["why"], undo=values["undo"] or "", then=values["next"] or "")
