"""``detent rollout report``: a rollout as one HTML page, for readers who did not follow it."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import Json
from optimizer.cli.reading_progress import blocks_read
from optimizer.cli.report_file import Open, Out, deliver
from optimizer.cli.session import Session


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
    from optimizer.jobs.rollouts.report_rollout import ReportRequest, read_report
    from optimizer.runtime import wiring

    session = Session()
    id = id_of(session, rollout)
    with blocks_read() as session.progress:
        rollout_report = session.client.ask(read_report, ReportRequest(id=id))
    deliver(session, wiring.rollout_page(rollout_report), {"rollout": id}, name=id, out=out, open=open, as_json=as_json)


def id_of(session: Session, name: str) -> str:
    """The id as given, or of the family's last rollout."""
    if name.startswith("ro_"):
        return name
    from optimizer.jobs.rollouts.read_rollout import FamilyRolloutRequest, read_current_rollout

    return session.client.ask(read_current_rollout, FamilyRolloutRequest(family=name)).id
