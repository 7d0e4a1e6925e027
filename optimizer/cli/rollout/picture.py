"""The readable picture of a rollout: ladder, evidence, arms, lease, what it waits for,
what comes next and how to take it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.cli.feedback import ARM_COLUMNS, arm_row
from optimizer.cli.output import percent, table, when
from optimizer.cli.rollout.evidence_picture import print_alerts, print_evidence, print_progress
from optimizer.core.base.answers import members_of
from optimizer.core.base.texts import shown
from optimizer.core.serving.assignment import HOLDBACK_SHARE

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.serving.rollout import Rollout
    from optimizer.core.views.rollout_status import FamilyRollout


def picture(out: Console, status: FamilyRollout) -> None:
    """Print it."""
    champion, rollout = status.champion, status.rollout
    out.print(f"{status.headline}.", style="bold", markup=False)
    out.print(f"Family    {status.family}", markup=False)
    if champion is not None:
        out.print(f"Champion  {champion.variant} since {when(champion.since)}: {shown(champion.why)}", markup=False)
    if status.freeze is not None:
        out.print(f"Frozen    {status.freeze.text}", style="yellow", markup=False)
    if status.holdback is not None:
        holdback = status.holdback
        out.print(
            f"Holdback  {percent(HOLDBACK_SHARE)} of units stay on {holdback.variant} until {when(holdback.until)}",
            markup=False,
        )
    if rollout is None:
        out.print("Rollout   none yet", markup=False)
    else:
        _print_rollout(out, status, rollout)
        decision = status.last_decision
        if decision is not None:
            by = f"{decision.kind} by {decision.actor} at {when(decision.at)}"
            out.print(f"Last      {by}: {shown(decision.reason)}", markup=False)
        if rollout.stage_history:
            _print_evidence(out, rollout, status)
    if status.by_itself is not None:
        out.print(f"By itself {status.by_itself}", markup=False)
    out.print(f"Next      {status.next}", markup=False)
    if status.undo is not None:
        out.print(f"Undo      {status.undo}", markup=False)


def ladder(rollout: Rollout) -> str:
    """``10 % > [25 %] > 50 % > 100 %`` with the present share in brackets."""
    steps = [percent(s) for s in rollout.ladder] + ["100 %"]
    place = len(steps) - 1 if rollout.status == "deployed" else rollout.stage if rollout.is_active else -1
    stages = " > ".join(f"[{step}]" if i == place else step for i, step in enumerate(steps))
    return f"{stages}; ended at {steps[rollout.stage]}" if rollout.status == "rolled_back" else stages


def _print_rollout(out: Console, status: FamilyRollout, rollout: Rollout) -> None:
    flags = [
        text
        for text, on in (
            ("held", rollout.held),
            ("forced", rollout.forced),
            ("simulated clock", rollout.simulated_clock),
        )
        if on
    ]
    state = (
        rollout.status
        + (f" ({rollout.outcome})" if rollout.outcome else "")
        + (f", {', '.join(flags)}" if flags else "")
    )
    out.print(f"Rollout   {rollout.id}: {state}", markup=False)
    out.print(f"Candidate {rollout.candidate} against {rollout.champion}, aim {rollout.aim}", markup=False)
    out.print(f"Ladder    {ladder(rollout)}", markup=False)
    if rollout.status == "deploying" and status.freeze is None:
        expires = rollout.lease_expires_at
        if status.served and expires is not None:
            out.print(
                f"Lease     good for {max(0, (expires - status.at).total_seconds()):.0f} s; the worker renews it",
                markup=False,
            )
        else:
            out.print(
                f"Lease     ran out at {when(expires)}: every user gets the champion until a worker ticks",
                style="yellow",
                markup=False,
            )
    if rollout.reason:
        out.print(f"Reason    {rollout.reason}", markup=False)


def _print_evidence(out: Console, rollout: Rollout, status: FamilyRollout) -> None:
    evidence = status.evidence
    assert evidence is not None
    if evidence.followed_by is not None:
        after = evidence.followed_by
        out.print(
            f"Since     {after.variant} reigns from {when(after.since)} on, by {after.by}: {shown(after.why)}",
            style="yellow",
            markup=False,
        )
    out.print("")
    print_evidence(out, evidence)
    out.print("")
    out.print("Reported  by every user in this rollout, matured or not", markup=False)
    arms = [arm_row(members_of(arm)) for arm in status.arms]
    table(arms, ARM_COLUMNS, empty="Nothing was reported for this rollout yet.")(out)
    out.print("")
    if rollout.status == "deploying":
        print_progress(out, evidence)
    print_alerts(out, evidence)
