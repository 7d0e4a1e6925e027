"""``detent freeze`` and ``detent unfreeze``: champions only, until a person lets things go on."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.operations.protocol import Answer
from optimizer.cli.output import Json, show, tell_change
from optimizer.cli.session import Session

FamilyName = Annotated[
    str | None, typer.Argument(help="Name of the family; default: every family.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the record.")]


def register(app: typer.Typer) -> None:
    app.command()(freeze)
    app.command()(unfreeze)


def freeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """Serve champions only, at once: no candidate, no advance, no study. Asks nothing; survives restarts.

    Example: detent freeze triage --reason "launch day"
    """
    _show(as_json, Session().operations.freeze(family, reason=reason))


def unfreeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """End a freeze. Rollouts go on where they stood with the worker's next tick.

    Example: detent unfreeze triage
    """
    _show(as_json, Session().operations.unfreeze(family, reason=reason))


def _show(as_json: bool, answer: Answer) -> None:
    show(as_json, answer, lambda out: None)
    tell_change(f"{answer['what']}.", why=answer["why"], undo=answer["undo"] or "", then=answer["next"] or "")
