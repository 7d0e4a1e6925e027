"""Takes the time of ticks back to the clock's, after a clock that ran ahead:
until then every tick stood still at the time it had reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from optimizer.core.base.phrasing import when
from optimizer.core.rollout.transitions import TransitionRequest, apply
from optimizer.core.serving.rollout import Decision, Rollout
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import Change, checked_reason, log_head, record_transition, tell
from optimizer.jobs.request import Reason, Request
from optimizer.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReset(Change):
    """``changed`` is False where the last tick was not ahead; ``held``: rollouts that this holds,
    or that were held already.
    """

    held: tuple[str, ...] = ()


class ClockResetRequest(Request):
    reason: Reason = ""


def reset_clock(context: Context, request: ClockResetRequest) -> ClockReset:
    """Sets the last tick to now where a clock that ran ahead left it in the future, and holds every active rollout.

    Safe to repeat.
    """
    store, clock, actor, why = context.store, context.clock, context.actor, checked_reason(request.reason)
    decisions: list[Decision] = []

    def change(tx: Transaction) -> ClockReset:
        at = clock.now()
        _, last = store.serving_version.read(tx)
        if last is None or last <= at:
            tick_text = f"at {when(last)}" if last is not None else "never yet"
            return ClockReset(
                what=f"nothing to reset: the last tick was {tick_text}, not ahead of the clock",
                why=why,
                undo="",
                changed=False,
            )
        store.serving_version.ticked(tx, at)
        rollouts = store.rollouts.all_active(tx)
        decisions.extend(_held(tx, store, clock, rollouts, at, actor, f"the clock was reset: {why}"))
        families = tuple(rollout.family for rollout in rollouts)
        tell(
            tx,
            store,
            "clock.reset",
            None,
            "clock",
            {"why": why, "from": last.isoformat(), "held": list(families)},
            actor=actor,
            at=at,
        )
        held = f"; held: the rollout of {', '.join(families)}" if families else ""
        onward = f"look at it, then: detent rollout resume {families[0]}" if families else "detent status"
        undo = (
            "none is needed: what was recorded ahead of time stays as it is, and evidence goes on once the clock has"
            " passed it"
        )
        return ClockReset(
            what=f"the last tick is {when(at)} now and was {when(last)}{held}",
            why=why,
            undo=undo,
            next=onward,
            held=families,
        )

    report = store.write(change)
    for decision in decisions:
        log_head(decision)
    return report


def _held(
    tx: Transaction, store: Store, clock: Clock, rollouts: list[Rollout], at: datetime, actor: str, why: str
) -> list[Decision]:
    transitions = []
    for rollout in rollouts:
        transition = apply(
            rollout, TransitionRequest(act="hold", at=at, clock_at=clock.rollout_now(), actor=actor, reason=why)
        )
        if transition.changed:
            transitions.append(record_transition(tx, store, transition))
        if rollout.lease_expires_at is not None and rollout.lease_expires_at > at:
            store.rollouts.renew_lease(
                tx, rollout.id, at
            )  # given by the clock that was ahead; the next tick gives a new one
    return transitions
