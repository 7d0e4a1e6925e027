"""The readable picture of a rollout: ladder, evidence, arms, lease, what it waits for,
what comes next and how to take it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.cli.feedback import ARM_COLUMNS, arm_row
from optimizer.cli.output import percent, print_facts, table, when
from optimizer.cli.rollout.evidence_picture import print_alerts, print_evidence, print_progress
from optimizer.core.base.answers import members_of, shown
from optimizer.core.serving.assignment import HOLDBACK_SHARE

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.serving.rollout import Rollout
    from optimizer.core.views.rollout_status import FamilyRollout


def picture(out: Console, status: FamilyRollout) -> None:
    """Print it."""
    champion, rollout = status.champion, status.rollout
    out.print(f"{status.headline}.", style="bold", markup=False)
    freeze, holdback, decision = status.freeze, status.holdback, status.last_decision
    print_facts(
        out,
        ("Family", status.family),
        (
            "Champion",
            f"{champion.variant} since {when(champion.since)}: {shown(champion.why)}" if champion is not None else None,
        ),
        ("Frozen", freeze.text if freeze is not None else None, "yellow"),
        (
            "Holdback",
            f"{percent(HOLDBACK_SHARE)} of units stay on {holdback.variant} until {when(holdback.until)}"
            if holdback is not None
            else None,
        ),
    )
    if rollout is None:
        print_facts(out, ("Rollout", "none yet"))
    else:
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
        expires = rollout.lease_expires_at
        is_leased = status.served and expires is not None
        lease = f"ran out at {when(expires)}: every user gets the champion until a worker ticks"
        if status.served and expires is not None:
            lease = f"good for {max(0, (expires - status.at).total_seconds()):.0f} s; the worker renews it"
        print_facts(
            out,
            ("Rollout", f"{rollout.id}: {state}"),
            ("Candidate", f"{rollout.candidate} against {rollout.champion}, aim {rollout.aim}"),
            ("Ladder", ladder(rollout)),
            (
                "Lease",
                lease if rollout.status == "deploying" and status.freeze is None else None,
                None if is_leased else "yellow",
            ),
            ("Reason", rollout.reason or None),
        )
        if decision is not None:
            by = f"{decision.kind} by {decision.actor} at {when(decision.at)}"
            print_facts(out, ("Last", f"{by}: {shown(decision.reason)}"))
        if rollout.stage_history:
            _print_evidence(out, rollout, status)
    print_facts(out, ("By itself", status.by_itself), ("Next", status.next), ("Undo", status.undo))


def ladder(rollout: Rollout) -> str:
    """``10 % > [25 %] > 50 % > 100 %`` with the present share in brackets."""
    steps = [percent(s) for s in rollout.ladder] + ["100 %"]
    place = len(steps) - 1 if rollout.status == "deployed" else rollout.stage if rollout.is_active else -1
    stages = " > ".join(f"[{step}]" if i == place else step for i, step in enumerate(steps))
    return f"{stages}; ended at {steps[rollout.stage]}" if rollout.status == "rolled_back" else stages


def _print_evidence(out: Console, rollout: Rollout, status: FamilyRollout) -> None:
    evidence = status.evidence
    assert evidence is not None
    if evidence.followed_by is not None:
        after = evidence.followed_by
        print_facts(
            out,
            (
                "Since",
                f"{after.variant} reigns from {when(after.since)} on, by {after.by}: {shown(after.why)}",
                "yellow",
            ),
        )
    out.print("")
    print_evidence(out, evidence)
    out.print("")
    print_facts(out, ("Reported", "by every user in this rollout, matured or not"))
    table(
        [arm_row(members_of(arm)) for arm in status.arms],
        ARM_COLUMNS,
        empty="Nothing was reported for this rollout yet.",
    )(out)
    out.print("")
    if rollout.status == "deploying":
        print_progress(out, evidence)
    print_alerts(out, evidence)
