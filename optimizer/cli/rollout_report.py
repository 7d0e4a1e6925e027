"""``detent rollout report``: a rollout as one HTML page, for whoever was not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.output import Json, show
from optimizer.cli.reading_progress import blocks_read
from optimizer.cli.session import Session
from optimizer.core.errors import Conflict

STDOUT = Path("-")


def report(
    rollout: Annotated[
        str, typer.Argument(metavar="FAMILY|ROLLOUT", help="A family, for its latest rollout, or a rollout's id.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; - is stdout. Default: var/reports/ of this home.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: what happened, on which evidence, and what the gates cannot see.

    Example: detent rollout report triage --out triage.html
    """
    from optimizer import wiring
    from optimizer.jobs.report_rollout import report_rollout

    session = Session()
    id = rollout if rollout.startswith("ro_") else _latest(session, rollout)
    with blocks_read() as told:
        found = report_rollout(id, store=session.store, clock=session.clock, progress=told)
    page = wiring.rollout_page(found)
    if out == STDOUT:
        sys.stdout.write(page)
        return
    path = out or session.settings.var() / "reports" / f"{id}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as refused:
        raise Conflict(f"Cannot write the report to {path}: {refused.strerror}. Name another file with --out.") from None
    values = {"rollout": id, "path": str(path.resolve()), "bytes": len(page.encode())}
    show(as_json, values, lambda screen: screen.print(str(values["path"]), markup=False))


def _latest(session: Session, family: str) -> str:
    session.family(family)
    with session.store.read() as tx:
        found = session.store.rollouts.active(tx, family) or session.store.rollouts.latest(tx, family)
    if found is None:
        raise Conflict(f"{family} has had no rollout yet. Start one: detent rollout start {family} VARIANT.")
    return found.id
