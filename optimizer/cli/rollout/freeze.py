"""``detent freeze`` and ``detent unfreeze``: champions only, until a person lets things go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, tell_change
from optimizer.cli.session import Session

if TYPE_CHECKING:
    from optimizer.jobs.context import Context
    from optimizer.jobs.rollouts.freeze import FreezeReport, FreezeRequest

FamilyName = Annotated[
    str | None, typer.Argument(help="Name of the family; default: every family.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the record.")]


def freeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """Serve champions only, at once: no candidate, holdback or override, no advance, no study.
    Asks nothing; survives restarts.

    Example: detent freeze triage --reason "launch day"
    """
    from optimizer.jobs.rollouts import freeze as jobs

    _ask(as_json, jobs.freeze, jobs.FreezeRequest(family=family, reason=reason or ""))


def unfreeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """End a freeze. Rollouts go on where they stood with the worker's next tick.

    Example: detent unfreeze triage
    """
    from optimizer.jobs.rollouts import freeze as jobs

    _ask(as_json, jobs.unfreeze, jobs.FreezeRequest(family=family, reason=reason or ""))


def _ask(as_json: bool, act: Callable[[Context, FreezeRequest], FreezeReport], request: FreezeRequest) -> None:
    report = Session().show(as_json, act, request)
    tell_change(f"{report.what}.", why=report.why, undo=report.undo or "", then=report.next or "")
