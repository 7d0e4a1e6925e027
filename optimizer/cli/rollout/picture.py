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


def picture(out: Console, seen: FamilyRollout) -> None:
    """Print it."""
    champion, rollout = seen.champion, seen.rollout
    out.print(f"{seen.headline}.", style="bold", markup=False)
    out.print(f"Family    {seen.family}", markup=False)
    if champion is not None:
        out.print(f"Champion  {champion.variant} since {when(champion.since)}: {shown(champion.why)}", markup=False)
    if seen.freeze is not None:
        out.print(f"Frozen    {seen.freeze.text}", style="yellow", markup=False)
    if seen.holdback is not None:
        held = seen.holdback
        out.print(
            f"Holdback  {percent(HOLDBACK_SHARE)} of units stay on {held.variant} until {when(held.until)}",
            markup=False,
        )
    if rollout is None:
        out.print("Rollout   none yet", markup=False)
    else:
        _print_rollout(out, seen, rollout)
        decision = seen.last_decision
        if decision is not None:
            by = f"{decision.kind} by {decision.actor} at {when(decision.at)}"
            out.print(f"Last      {by}: {shown(decision.reason)}", markup=False)
        if rollout.stage_history:
            _print_evidence(out, rollout, seen)
    if seen.by_itself is not None:
        out.print(f"By itself {seen.by_itself}", markup=False)
    out.print(f"Next      {seen.next}", markup=False)
    if seen.undo is not None:
        out.print(f"Undo      {seen.undo}", markup=False)


def ladder(rollout: Rollout) -> str:
    """``10 % > [25 %] > 50 % > 100 %`` with the present share in brackets."""
    steps = [percent(s) for s in rollout.ladder] + ["100 %"]
    place = len(steps) - 1 if rollout.status == "deployed" else rollout.stage if rollout.is_active else -1
    stages = " > ".join(f"[{step}]" if i == place else step for i, step in enumerate(steps))
    return f"{stages}; ended at {steps[rollout.stage]}" if rollout.status == "rolled_back" else stages


def _print_rollout(out: Console, seen: FamilyRollout, rollout: Rollout) -> None:
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
    if rollout.status == "deploying" and seen.freeze is None:
        expires = rollout.lease_expires_at
        if seen.served and expires is not None:
            out.print(
                f"Lease     good for {max(0, (expires - seen.at).total_seconds()):.0f} s; the worker renews it",
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
    seen = status.evidence
    assert seen is not None
    if seen.followed_by is not None:
        after = seen.followed_by
        out.print(
            f"Since     {after.variant} reigns from {when(after.since)} on, by {after.by}: {shown(after.why)}",
            style="yellow",
            markup=False,
        )
    out.print("")
    print_evidence(out, seen)
    out.print("")
    out.print("Reported  by every user in this rollout, matured or not", markup=False)
    arms = [arm_row(members_of(arm)) for arm in status.arms]
    table(arms, ARM_COLUMNS, empty="Nothing was reported for this rollout yet.")(out)
    out.print("")
    if rollout.status == "deploying":
        print_progress(out, seen)
    print_alerts(out, seen)
