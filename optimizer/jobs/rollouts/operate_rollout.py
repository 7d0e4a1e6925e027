"""Carries out an operator's act on a rollout: approve, reject, advance, hold, resume, promote, rollback."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, cast

from pydantic import Field

from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import PreconditionFailed, StaleVersion
from optimizer.core.base.values import Aim
from optimizer.core.rollout.transitions import BRAKES, OperatorAct, Transition, apply
from optimizer.core.serving.rollout import Rollout, refuse_other_clock, require_unfrozen, visible
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import (
    RolloutChange,
    checked_reason,
    log_head,
    promote as promote_candidate,
    record_transition,
    transition_request,
)
from optimizer.jobs.request import EntityTags, ItemActRequest
from optimizer.jobs.rollouts.start_rollout import RolloutRequest, start_command
from optimizer.jobs.rollouts.watch_rollout import present_evidence
from optimizer.ports import Transaction

# A freeze or another clock stops these; never the way back.
GOING_ON: tuple[OperatorAct, ...] = ("approve", "advance", "resume", "promote")


class ActRequest(ItemActRequest):
    confirm: Annotated[
        str | None, Field(description="The family's name: goes past a gate that has not passed, recorded as forced")
    ] = None
    if_match: EntityTags = None  # the version that the operator saw; brakes ignore it


def approve(context: Context, request: ActRequest) -> RolloutChange:
    """Lets the rollout begin with the worker's next tick."""
    return _operate(context, request, "approve")


def reject(context: Context, request: ActRequest) -> RolloutChange:
    """Ends a rollout that has not been served yet."""
    return _operate(context, request, "reject")


def advance(context: Context, request: ActRequest) -> RolloutChange:
    """The next share of the ladder. Past a gate that has not passed it needs `confirm` = the family's name, recorded as
    forced.
    """
    return _operate(context, request, "advance")


def hold(context: Context, request: ActRequest) -> RolloutChange:
    """No advance until resumed; guardrails and rollback go on acting. Safe to repeat."""
    return _operate(context, request, "hold")


def resume(context: Context, request: ActRequest) -> RolloutChange:
    """Takes a hold back."""
    return _operate(context, request, "resume")


def promote(context: Context, request: ActRequest) -> RolloutChange:
    """The candidate becomes champion. Past a gate that has not passed it needs `confirm` = the family's name,
    recorded as forced.
    """
    return _operate(context, request, "promote")


def rollback(context: Context, request: ActRequest) -> RolloutChange:
    """Every user gets the champion again, at once, and the rollout ends."""
    return _operate(context, request, "rollback")


def _operate(context: Context, request: ActRequest, act: OperatorAct) -> RolloutChange:
    """Applies one act in one transaction.

    Raises:
        NotFound: no such rollout.
        Conflict: the rollout's state, or a freeze, does not allow the act.
        StaleVersion: the rollout is past the version in ``if_match``.
        Refused: it began on real time, and this process runs on a scaled clock, or the other way round.
        GateNotMet: no gate allows the advance or promotion, and ``confirm`` is not the family's name.
    """
    store = context.store
    why = checked_reason(request.reason)
    if_version = None if act in BRAKES else _version(request.if_match)

    def change(tx: Transaction) -> RolloutChange:
        rollout = visible(store.rollouts.get(tx, request.id), request.id, context.access)
        if if_version is not None and rollout.version != if_version:
            raise StaleVersion(
                f"Rollout {rollout.id} moved since you looked: it is at version {rollout.version}, you meant"
                f" {if_version}. Look at its status and say it again if it is still meant.",
                rollout=rollout.id,
                version=rollout.version,
            )
        transition = transition_now(tx, context, rollout, act, reason=why, confirm=request.confirm)
        if not transition.changed:
            return RolloutChange(**members_of(rollout), what=transition.what, why=rollout.reason or why, changed=False)
        decision = record_transition(tx, store, transition)
        tenure = promote_candidate(tx, store, transition)
        # The family as its file is now: a start by that file needs no options for what the file says.
        declared = context.families().families.get(rollout.family)
        f = transition.rollout.family
        back = f"detent rollout rollback {f}"
        file = declared.rollout if declared is not None else None
        margin = (
            transition.rollout.settings["margin"] if transition.rollout.settings["margin_from"] == "given" else None
        )
        study = store.studies.get(tx, rollout.study) if rollout.study is not None else None
        usual_aim = study.aim if study is not None else file.gates.aim if file is not None else None
        same_start = RolloutRequest(
            family=f,
            variant=transition.rollout.candidate,
            aim=cast("Aim", rollout.aim) if rollout.aim != usual_aim else None,
            study=rollout.study,
            ladder=list(transition.rollout.ladder)
            if file is None or tuple(file.ladder) != tuple(transition.rollout.ladder)
            else None,
            margin=margin if file is None or file.margin != margin else None,
        )
        again = start_command(same_start, forced=transition.rollout.forced)
        onward = f"detent rollout status {f}"  # it goes on by itself; a refusal names the way past a gate
        # The command that takes the act back, and the command that goes on.
        undo, following = {
            "approve": (back, onward),
            "reject": (again, None),
            "advance": (back, onward),
            "hold": (f"detent rollout resume {f}", None),
            "resume": (f"detent rollout hold {f}", onward),
            "promote": (f"detent champion rollback {f}", f"detent variant export {f} --format yaml"),
            "rollback": (again, f"detent rollout log {f}"),
        }[act]
        return RolloutChange(
            **members_of(transition.rollout),
            what=transition.what,
            why=why,
            undo=undo,
            next=following,
            decision=decision,
            reign=tenure,
        )

    report = store.write(change)
    log_head(report.decision)
    return report


def transition_now(
    tx: Transaction, context: Context, rollout: Rollout, act: OperatorAct, *, reason: str, confirm: str | None
) -> Transition:
    """What the act does at this moment; nothing is written.

    Raises Conflict, Refused and GateNotMet as the act itself.
    """
    store, clock = context.store, context.clock
    if act in GOING_ON:
        require_unfrozen(store.freezes.all(tx), rollout.family, f"{act} rollout {rollout.id}")
        refuse_other_clock(rollout, clock.scale)
    now = transition_request(rollout, act, clock.now(), clock, actor=context.actor, reason=reason)
    evidence = None
    if act in ("advance", "promote"):
        evidence = present_evidence(tx, store, rollout, at=now.at, clock_at=now.clock_at)
    return apply(rollout, replace(now, confirm=confirm, evidence=evidence))


def _version(if_match: str | None) -> int | None:
    """The version that If-Match names; None where any version will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not (tag.isascii() and tag.isdigit() and len(tag) < 10):
        raise PreconditionFailed(
            f"If-Match asked for {if_match}, and no rollout has such a tag. Send the ETag of the rollout as it came."
        )
    return int(tag)
