"""``detent rollout report``: a rollout as one HTML page, for readers who did not follow it."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json
from optimizer.cli.reading_progress import blocks_read
from optimizer.cli.report_file import Open, Out, deliver
from optimizer.cli.session import Session
from optimizer.core.base.errors import Conflict


def report(
    rollout: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY|ROLLOUT", help="A family, for its latest rollout, or a rollout's id.", show_default=False
        ),
    ],
    out: Out = None,
    open: Open = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: what happened, on which evidence, and what the gates cannot see.

    Example: detent rollout report triage --out triage.html
    """
    from optimizer.jobs.rollouts.report_rollout import report_rollout
    from optimizer.runtime import wiring

    session = Session()
    id = rollout if rollout.startswith("ro_") else _latest(session, rollout)
    with blocks_read() as told:
        found = report_rollout(id, store=session.store, clock=session.clock, progress=told)
    deliver(session, wiring.rollout_page(found), {"rollout": id}, name=id, out=out, open=open, as_json=as_json)


def _latest(session: Session, family: str) -> str:
    session.family(family)
    with session.store.read() as tx:
        found = session.store.rollouts.active(tx, family) or session.store.rollouts.latest(tx, family)
    if found is None:
        raise Conflict(f"{family} has had no rollout yet. Start one: detent rollout start {family} VARIANT.")
    return found.id
