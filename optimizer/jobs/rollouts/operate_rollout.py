"""Carries out an operator's act on a rollout: approve, reject, advance, hold, resume, promote, rollback."""

from __future__ import annotations

from typing import get_args

from optimizer.core.base.errors import InvalidInput, StaleVersion
from optimizer.core.rollout.transitions import BRAKES, OperatorAct, Transition, TransitionRequest, apply, lapse_of
from optimizer.core.serving.freezes import require_unfrozen
from optimizer.core.serving.rollout import Champion, Decision, Rollout, refuse_other_clock, unknown_rollout
from optimizer.jobs.record_change import RolloutChange, checked_reason, log_head, promote, record_transition
from optimizer.jobs.rollouts.watch_rollout import evidence_now
from optimizer.ports import Clock, Store, Transaction

GOING_ON: tuple[OperatorAct, ...] = (
    "approve",
    "advance",
    "resume",
    "promote",
)  # a freeze or another clock stops these; never the way back


def operate(
    rollout_id: str,
    act: OperatorAct,
    *,
    actor: str,
    reason: str | None,
    store: Store,
    clock: Clock,
    confirm: str | None = None,
    if_version: int | None = None,
) -> RolloutChange:
    """Applies one act in one transaction.

    ``if_version``: the version that the operator looked at; brakes ignore it.

    Raises:
        NotFound: no such rollout.
        Conflict: the rollout's state, or a freeze, does not allow the act; StaleVersion when it moved since
            ``if_version``.
        Refused: it began on real time and this process runs on a scaled clock; GateNotMet, which follows, is one of
            these, too.
        GateNotMet: advance or promote past a gate that has not passed, without ``confirm`` = the family's name.
    """
    if act not in get_args(OperatorAct):
        raise InvalidInput(f"Unknown act {act!r} on a rollout; known: {', '.join(get_args(OperatorAct))}.")
    why = checked_reason(reason)

    def change(tx: Transaction) -> RolloutChange:
        rollout = store.rollouts.get(tx, rollout_id)
        if rollout is None:
            raise unknown_rollout(rollout_id)
        if if_version is not None and act not in BRAKES and rollout.version != if_version:
            raise StaleVersion(
                f"Rollout {rollout_id} moved since you looked: it is at version {rollout.version}, you meant"
                f" {if_version}. Look at its status and say it again if it is still meant.",
                rollout=rollout_id,
                version=rollout.version,
            )
        if act in GOING_ON:
            require_unfrozen(store.freezes.all(tx), rollout.family, f"{act} rollout {rollout_id}")
            refuse_other_clock(rollout, clock.scale)
        at, clock_at = clock.now(), clock.rollout_now()
        lapsed_at, lapsed_clock_at = lapse_of(rollout, at=at, clock_at=clock_at, scale=clock.scale)
        request = TransitionRequest(
            act=act,
            at=at,
            clock_at=clock_at,
            actor=actor,
            reason=why,
            confirm=confirm,
            lapsed_at=lapsed_at,
            lapsed_clock_at=lapsed_clock_at,
            evidence=(
                evidence_now(tx, store, rollout, at=at, clock_at=clock_at) if act in ("advance", "promote") else None
            ),
        )
        transition = apply(rollout, request)
        if not transition.changed:
            return RolloutChange(
                family=rollout.family, what=transition.what, why=rollout.reason or why, changed=False, rollout=rollout
            )
        decision = record_transition(tx, store, transition)
        return _report(transition, decision, promote(tx, store, transition))

    report = store.write(change)
    log_head(report.decision)
    return report


def _report(transition: Transition, decision: Decision, reign: Champion | None) -> RolloutChange:
    rollout, act = transition.rollout, transition.request.act
    undo, following = _commands(rollout, act)
    return RolloutChange(
        family=rollout.family,
        what=transition.what,
        why=transition.request.reason,
        undo=undo,
        next=following,
        forced=transition.forced,
        rollout=rollout,
        champion=reign,
        decision=decision,
    )


def _commands(rollout: Rollout, act: str) -> tuple[str | None, str | None]:
    """(the command that takes the act back, the one that goes on)."""
    f = rollout.family
    back = f"detent rollout rollback {f}"
    again = f"detent rollout start {f} {rollout.candidate}" + (f" --confirm {f}" if rollout.forced else "")
    onward = f"detent rollout status {f}"  # it goes on by itself; the way past a gate is told by who refuses it
    return {
        "approve": (back, onward),
        "reject": (again, None),
        "advance": (back, onward),
        "hold": (f"detent rollout resume {f}", None),
        "resume": (f"detent rollout hold {f}", onward),
        "promote": (f"detent champion rollback {f}", f"detent variant export {f} --format yaml"),
        "rollback": (again, f"detent rollout log {f}"),
    }[act]
