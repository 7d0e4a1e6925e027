"""``detent freeze`` and ``detent unfreeze``: champions only, until a person lets things go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import Json, Reason, tell_change
from optimizer.cli.session import Session

if TYPE_CHECKING:
    from optimizer.jobs.rollouts.freeze import FreezeReport

FamilyName = Annotated[
    str | None, typer.Argument(help="Name of the family; default: every family.", show_default=False)
]


def freeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """Serve champions only, at once: no candidate, holdback or override, no advance, no study.
    Asks nothing; survives restarts.

    Example: detent freeze triage --reason "launch day"
    """
    from optimizer.jobs.rollouts import freeze as jobs

    _tell(Session().show(as_json, jobs.freeze, family=family, reason=reason or ""))


def unfreeze(family: FamilyName = None, reason: Reason = None, as_json: Json = False) -> None:
    """End a freeze. Rollouts go on where they stood with the worker's next tick.

    Example: detent unfreeze triage
    """
    from optimizer.jobs.rollouts import freeze as jobs

    _tell(Session().show(as_json, jobs.unfreeze, family=family, reason=reason or ""))


def _tell(report: FreezeReport) -> None:
    tell_change(f"{report.what}.", why=report.why, undo=report.undo, then=report.next)
