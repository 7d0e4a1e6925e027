"""To which arm an event belongs: by its token, by the interaction it names, or recomputed from unit,
rollout and time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from optimizer.core.feedback.events import Arm
from optimizer.core.feedback.reported import EventRejected, Report
from optimizer.core.serving.assignment import (
    Assignment,
    ServedRole,
    cohort_minutes,
    cohort_start,
    has_lease,
    variant_at,
)
from optimizer.core.serving.rollout import Rollout

LAG = timedelta(seconds=60)  # the greatest age of a snapshot from which a client decided in process


def arm_of_token(report: Report, assignment: Assignment, unit_hmac: str | None) -> Arm:
    """``unit_hmac`` is of the unit that the event names beside its token, if it does.

    What it names must fit the token.
    """
    if report.get("family") not in (None, assignment.family):
        raise EventRejected(
            "foreign_token",
            f"The token was served for family {assignment.family!r}, and the event names {report.get('family')!r}."
            " Send each event with the token of its own family.",
        )
    for name, claimed, signed in (
        ("variant", report.get("variant"), assignment.variant),
        ("rollout", report.get("rollout"), assignment.rollout),
        ("unit", unit_hmac, assignment.unit_hmac),
    ):
        if claimed is not None and claimed != signed:
            raise EventRejected(
                "assignment_mismatch",
                f"The event names another {name} than its token was served for. Leave {name} out, or send its own"
                " token.",
            )
    return Arm(
        family=assignment.family,
        variant=assignment.variant,
        rollout=assignment.rollout,
        role=assignment.role,
        stage=assignment.stage,
        cohort_start=assignment.cohort_start,
        unit_hmac=assignment.unit_hmac,
    )


def check_interaction(arm: Arm, of_interaction: Arm) -> None:
    """An outcome must belong to the arm that served its interaction."""
    for name in ("variant", "rollout", "unit_hmac"):
        claimed, stored = getattr(arm, name), getattr(of_interaction, name)
        if claimed is not None and stored is not None and claimed != stored:
            word = "unit" if name == "unit_hmac" else name
            raise EventRejected(
                "assignment_mismatch",
                f"The event belongs to another {word} than the interaction it names. Send the assignment of that"
                " interaction, or only its id.",
            )


def arm_of_unit(sent: Arm, variants: Collection[str]) -> Arm:
    """Outside a rollout no unit was drawn, so the reported variant is believed when the family has it."""
    if sent.variant is not None and sent.variant not in variants:
        raise EventRejected(
            "unknown_variant",
            f"Family {sent.family!r} has no variant {sent.variant!r}; `detent variant list {sent.family}` shows them.",
        )
    return replace(sent, rollout=None)


def arm_of_rollout(
    report: Report,
    sent: Arm,
    rollout: Rollout | None,
    *,
    now: datetime,
    clock_scale: float,
    held_back_until: datetime | None = None,
) -> Arm | None:
    """The arm of an event without a token; None where the event is in no arm. ``sent``: as its fields name it, but
    with the family's present name.

    The bucket, recomputed from salt and stage history, must give the variant that the event names, at its time or in a
    stage that ended up to LAG before, since the sender may not have heard of the end. A lease that has run out by
    ``now`` ends the open stage, as the history will say once a tick resumes it. After a promotion units are held back
    until ``held_back_until`` (real time).

    Raises EventRejected where the family has no such rollout.
    """
    variant, at = sent.variant, report.get("assigned_at")
    if rollout is None or rollout.family != sent.family:
        raise EventRejected(
            "assignment_mismatch",
            f"Family {sent.family!r} has no rollout {sent.rollout!r}. Send the token that was served.",
        )
    lapsed_at = None if has_lease(rollout, now) else rollout.lease_expires_at
    ends = [
        (datetime.fromisoformat(stage["to"]) if stage["to"] is not None else None) for stage in rollout.stage_history
    ] + [lapsed_at, held_back_until]
    # The last moments of what ended within LAG: any moment of it would give the same.
    before = [end - timedelta(microseconds=1) for end in ends if end is not None and at - LAG < end <= at]
    for moment in sorted([at, *before], reverse=True):
        if lapsed_at is not None and moment >= lapsed_at:
            continue
        if variant_at(rollout, report.get("unit"), moment, held_back_until) == variant:
            stage = [stage for stage in rollout.stage_history if datetime.fromisoformat(stage["from"]) <= moment][-1]
            assigned = (
                datetime.fromisoformat(stage["clock_from"])
                + (moment - datetime.fromisoformat(stage["from"])) * clock_scale
            )
            is_promoted = rollout.ended_at is not None and rollout.ended_at <= moment
            role: ServedRole = "champion"
            if is_promoted and variant == rollout.champion:
                role = "holdback"
            elif not is_promoted and variant == rollout.candidate:
                role = "candidate"
            return Arm(
                family=rollout.family,
                variant=variant,
                rollout=rollout.id,
                role=role,
                stage=None if is_promoted else stage["share"],
                cohort_start=cohort_start(assigned, cohort_minutes(rollout.settings)),
                unit_hmac=sent.unit_hmac,
                recomputed=True,
            )
    return None
