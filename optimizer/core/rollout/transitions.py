"""What may happen to a Rollout next: a pure state machine.

It takes one act, and gives the next Rollout and the content of its Decision.

    start -> pending -> validating -> approved -> deploying at ladder[0] -> advance … -> promote -> deployed
    start -> pending -> adopt -> deployed: a champion by force, with the holdback of a promotion and no stage before it
    any active status -> rollback, or end by a change of champion -> rolled_back if it was ever served, else failed
    pending, validating, approved -> reject -> failed

``held`` is no status of its own. A held rollout is not deployed, advanced or promoted, and can still be rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from optimizer.core.base.answers import ActOffer
from optimizer.core.base.errors import Conflict, GateNotMet
from optimizer.core.base.phrasing import when
from optimizer.core.evaluation.gates import GateRecord, missed_gates
from optimizer.core.serving.assignment import has_lease
from optimizer.core.serving.rollout import (
    ACTIVE,
    Rollout,
    RolloutOutcome,
    StageSpan,
    Status,
    identity,
    iso,
    iso_or_none,
    ladder_text,
    percent,
    state,
)

Act = Literal[
    "start",
    "validate",
    "approve",
    "reject",
    "deploy",
    "lapse",
    "advance",
    "hold",
    "resume",
    "promote",
    "adopt",
    "rollback",
    "end",
]
OperatorAct = Literal["approve", "reject", "advance", "hold", "resume", "promote", "rollback"]
OPERATOR_ACTS: tuple[OperatorAct, ...] = get_args(OperatorAct)
# An act that stops a candidate waits for no rate limit and no version.
BRAKES: tuple[OperatorAct, ...] = ("hold", "reject", "rollback")

FROM: Mapping[Act, tuple[Status, ...]] = {
    "start": (),
    "validate": ("pending",),
    "approve": ("validating",),
    "reject": ("pending", "validating", "approved"),
    "deploy": ("approved",),
    "lapse": ("deploying",),
    "advance": ("deploying",),
    "promote": ("deploying",),
    "adopt": ("pending",),
    "hold": ACTIVE,
    "resume": ACTIVE,
    "rollback": ACTIVE,
    "end": ACTIVE,
}
STOPPED_BY_HOLD: tuple[Act, ...] = ("deploy", "advance", "promote", "adopt")
NO_GATE = "nothing has been measured yet, and inconclusive never ships by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionRequest:
    """One act with all that decides its result: a Decision records it, and a replay repeats it.

    ``at`` is real time, ``clock_at`` is the time of the rollout clock. ``confirm`` is the family's name, which a person
    types to go past a gate.
    """

    act: Act
    at: datetime
    clock_at: datetime
    actor: str
    reason: str
    confirm: str | None = None
    outcome: RolloutOutcome = "cancelled"  # of rollback and end
    lapsed_at: datetime | None = None  # where no worker watches: when the lease ran out …
    lapsed_clock_at: datetime | None = None  # … and the rollout clock's time then
    gates: Sequence[GateRecord] = ()  # of validate: the gates before a rollout, as evaluated
    # What the blocks closed by then said (core/rollout/next_action.py); None where no tick looked.
    evidence: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The Rollout after an act (its ``version`` is one higher) and the content of its Decision.

    ``changed`` is False where the act had nothing left to do.
    """

    rollout: Rollout
    request: TransitionRequest
    what: str  # such as "stage 1 -> 2 (10 % -> 25 %)"
    content: Mapping[str, Any]
    forced: bool = False
    champion_change: str | None = None  # the champion from now on
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    what: str
    changes: Mapping[str, Any]
    forced: bool = False
    champion_change: str | None = None


def start(rollout: Rollout, request: TransitionRequest, *, forced: bool) -> Transition:
    """The first link of the chain: a pending Rollout at version 1, made of the values that the job chose."""
    pending = replace(
        rollout,
        status="pending",
        stage=-1,
        held=False,
        held_by=None,
        version=1,
        forced=forced,
        outcome=None,
        reason=request.reason,
        stage_history=(),
        lease_expires_at=None,
        stage_entered_at=None,
        started_at=None,
        ended_at=None,
    )
    start_inputs = {**inputs(request), "forced": forced, "rollout": identity(pending)}
    content = {"act": "start", "inputs": start_inputs, "before": None, "after": state(pending)}
    what = f"rollout {pending.id} of {pending.candidate} made, ladder {ladder_text(pending.ladder)}"
    return Transition(rollout=pending, request=request, what=what, content=content, forced=forced)


def apply(rollout: Rollout, request: TransitionRequest) -> Transition:
    """The Rollout after ``request``.

    Raises:
        Conflict: the status, or a hold, does not allow the act; the sentence and ``possible`` name what is allowed.
        GateNotMet: no gate allows the advance or promotion, and ``confirm`` is not the family's name.
    """
    # A person may hold what the tick holds already: the tick's hold would end by itself.
    if (
        request.act == "hold"
        and rollout.is_active
        and rollout.held
        and not (rollout.held_by is not None and is_system(rollout.held_by) and not is_system(request.actor))
    ):
        return Transition(rollout=rollout, request=request, what="already held", content={}, changed=False)
    obstacle = _obstacle(rollout, request.act)
    if obstacle is not None:
        acts = possible(rollout)
        way_out = (
            f"Possible now: {', '.join(acts)}."
            if acts
            else f"Start a new one: detent rollout start {rollout.family} VARIANT."
        )
        raise Conflict(
            f"Cannot {'roll back' if request.act == 'rollback' else request.act} rollout {rollout.id} of"
            f" {rollout.family}: {obstacle}. {way_out}",
            rollout=rollout.id,
            rollout_status=rollout.status,
            held=rollout.held,
            possible=list(acts),
            offers=list(answers_on(rollout)),
        )
    effect = EFFECTS[request.act](rollout, request)
    after = replace(
        rollout,
        version=rollout.version + 1,
        forced=rollout.forced or effect.forced,
        reason=request.reason,
        **effect.changes,
    )
    return Transition(
        rollout=after,
        request=request,
        what=effect.what,
        content={"act": request.act, "inputs": inputs(request), "before": state(rollout), "after": state(after)},
        forced=effect.forced,
        champion_change=effect.champion_change,
    )


def lapse_of(
    rollout: Rollout, *, at: datetime, clock_at: datetime, scale: float
) -> tuple[datetime | None, datetime | None]:
    """When the lease ran out, on both clocks; (None, None) while a worker watches the rollout at ``at``."""
    lapsed_at = rollout.lease_expires_at
    if lapsed_at is None or has_lease(rollout, at):
        return None, None
    return lapsed_at, clock_at - (at - lapsed_at) * scale


def possible(rollout: Rollout) -> tuple[OperatorAct, ...]:
    """The acts that an operator may request now, in the order of OPERATOR_ACTS; some may need a confirmation."""
    held_by_person = rollout.held and not is_system(rollout.held_by or "")
    return tuple(a for a in OPERATOR_ACTS if _obstacle(rollout, a) is None and not (a == "hold" and held_by_person))


def answers_on(rollout: Rollout) -> tuple[ActOffer, ...]:
    """Of ``possible`` those that let it go on as it is meant to, or end it in one way."""
    acts = possible(rollout)
    ends = "reject" if "reject" in acts else "rollback"
    return tuple(ActOffer(act=act, target=rollout.id) for act in acts if act in ("approve", "resume", ends))


def inputs(request: TransitionRequest) -> dict[str, Any]:
    """What a replay needs beside the Decision's own columns (act, at, actor, reason)."""
    return {
        "clock_at": iso(request.clock_at),
        "confirm": request.confirm,
        "outcome": request.outcome,
        "lapsed_at": iso_or_none(request.lapsed_at),
        "lapsed_clock_at": iso_or_none(request.lapsed_clock_at),
        "gates": [dict(g) for g in request.gates],
        "evidence": None if request.evidence is None else dict(request.evidence),
    }


def _obstacle(rollout: Rollout, act: Act) -> str | None:
    if not rollout.is_active:
        return f"it has ended ({rollout.status}, outcome {rollout.outcome})"
    if rollout.status not in FROM[act]:
        return f"its status is {rollout.status}"
    if rollout.held and act in STOPPED_BY_HOLD:
        return "it is held, and until it is resumed it can only be rolled back"
    if act == "resume" and not rollout.held:
        return "it is not held"
    if act == "advance" and rollout.stage >= len(rollout.ladder) - 1:
        return f"it is at its last stage ({percent(rollout.ladder[-1])}), after which comes promote"
    return None


# --- what each act does ---------------------------------------------------------------------------------------------


def _validate(rollout: Rollout, request: TransitionRequest) -> _Effect:
    names = [g["name"] for g in missed_gates(request.gates)]
    what = (
        f"gates not met: {', '.join(names)}"
        if names
        else "all gates before a rollout are met"
        if request.gates
        else "no gate on record"
    )
    return _Effect(what=f"{what}; waiting for approval", changes={"status": "validating"})


def _approve(rollout: Rollout, request: TransitionRequest) -> _Effect:
    return _Effect(
        what=f"approved; the worker serves {percent(rollout.ladder[0])} with its next tick",
        changes={"status": "approved"},
    )


def _deploy(rollout: Rollout, request: TransitionRequest) -> _Effect:
    share = rollout.ladder[0]
    changes = {
        "status": "deploying",
        "stage": 0,
        "stage_history": (_open_entry(share, request),),
        "stage_entered_at": request.at,
        "started_at": request.at,
    }
    return _Effect(what=f"{rollout.candidate} serves {percent(share)}", changes=changes)


def _lapse(rollout: Rollout, request: TransitionRequest) -> _Effect:
    share = rollout.ladder[rollout.stage]
    lapsed_at, history = min(request.lapsed_at or request.at, request.at), _next_entry(rollout, share, request)
    what = f"every user got the champion from {when(lapsed_at)} to {when(request.at)}; {percent(share)} goes on"
    return _Effect(what=what, changes={"stage_history": history})


def _advance(rollout: Rollout, request: TransitionRequest) -> _Effect:
    forced = _is_forced(rollout, request)
    old, new = rollout.ladder[rollout.stage], rollout.ladder[rollout.stage + 1]
    what = f"stage {rollout.stage + 1} -> {rollout.stage + 2} ({percent(old)} -> {percent(new)})"
    changes = {
        "stage": rollout.stage + 1,
        "stage_history": _next_entry(rollout, new, request),
        "stage_entered_at": request.at,
    }
    return _Effect(what=what, changes=changes, forced=forced)


def _promote(rollout: Rollout, request: TransitionRequest) -> _Effect:
    forced = _is_forced(rollout, request)
    share = rollout.ladder[rollout.stage]
    what = (
        f"{rollout.candidate} is champion (at {percent(share)} before); 5 % of units stay on {rollout.champion} for a"
        " week"
    )
    changes = {"status": "deployed", "outcome": "promoted", **_end_changes(rollout, request)}
    return _Effect(what=what, changes=changes, forced=forced, champion_change=rollout.candidate)


def _adopt(rollout: Rollout, request: TransitionRequest) -> _Effect:
    """An adopted candidate becomes champion at once. Its only stage has no length, so that the holdback finds its
    share.
    """
    changes = {
        "status": "deployed",
        "stage": 0,
        "outcome": "promoted",
        "stage_entered_at": request.at,
        "started_at": request.at,
        **_end_changes(replace(rollout, stage_history=(_open_entry(rollout.ladder[0], request),)), request),
    }
    what = f"{rollout.candidate} is champion, adopted; 5 % of units stay on {rollout.champion} for a week"
    return _Effect(what=what, changes=changes, forced=_is_forced(rollout, request), champion_change=rollout.candidate)


def _hold(rollout: Rollout, request: TransitionRequest) -> _Effect:
    at = f" at {percent(rollout.share)}" if rollout.share is not None else ""
    return _Effect(what=f"held{at}: no advance until it is resumed", changes={"held": True, "held_by": request.actor})


def _resume(rollout: Rollout, request: TransitionRequest) -> _Effect:
    return _Effect(what="resumed", changes={"held": False, "held_by": None})


def _reject(rollout: Rollout, request: TransitionRequest) -> _Effect:
    return _Effect(
        what="rejected before it was served",
        changes={"status": "failed", "outcome": "cancelled", **_end_changes(rollout, request)},
    )


def _rollback(rollout: Rollout, request: TransitionRequest) -> _Effect:
    served = bool(rollout.stage_history)
    what = f"rolled back: {rollout.champion} serves every user" if served else "ended before it was served"
    changes = {
        "status": "rolled_back" if served else "failed",
        "outcome": request.outcome,
        **_end_changes(rollout, request),
    }
    return _Effect(what=what, changes=changes)


EFFECTS: Mapping[Act, Callable[[Rollout, TransitionRequest], _Effect]] = {
    "validate": _validate,
    "approve": _approve,
    "reject": _reject,
    "deploy": _deploy,
    "lapse": _lapse,
    "advance": _advance,
    "hold": _hold,
    "resume": _resume,
    "promote": _promote,
    "adopt": _adopt,
    "rollback": _rollback,
    "end": _rollback,
}


def _is_forced(rollout: Rollout, request: TransitionRequest) -> bool:
    """False where the evidence allows the act, True where a person goes past it by typing the family's name.

    Raises GateNotMet where neither is so.
    """
    evidence = request.evidence or {}
    if evidence.get("act") == request.act and request.lapsed_at is None:
        return False
    if request.confirm == rollout.family:
        return True
    confirmed = f" (confirm was {request.confirm!r})" if request.confirm is not None else ""
    why = evidence.get("reason") or NO_GATE
    if evidence.get("act") == "advance":
        why = f"the evidence is enough for the next share alone ({why})"
    if request.lapsed_at is not None:
        why = f"no worker has watched it since {when(request.lapsed_at)}, so later evidence has not been looked at"
    skipped = (
        f" It would also skip the stages {ladder_text(rollout.ladder[rollout.stage + 1 :])}."
        if request.act == "promote" and rollout.stage < len(rollout.ladder) - 1
        else ""
    )
    raise GateNotMet(
        f"Cannot {request.act} rollout {rollout.id} of {rollout.family}: {why}{confirmed}.{skipped} "
        f"A person may go past that, recorded as forced, with confirm = {rollout.family} "
        f"(detent rollout {request.act} {rollout.family} --confirm {rollout.family}).",
        rollout=rollout.id,
        gates=[{"name": "quality", "verdict": "inconclusive", "reason": why}],
        confirm=rollout.family,
    )


def is_system(actor: str) -> bool:
    return actor.startswith("system:")


def _open_entry(share: float, request: TransitionRequest) -> StageSpan:
    return {"share": share, "from": iso(request.at), "to": None, "clock_from": iso(request.clock_at), "clock_to": None}


def _next_entry(rollout: Rollout, share: float, request: TransitionRequest) -> tuple[StageSpan, ...]:
    """The stage history with its open entry closed when the candidate was last served, and a new entry opened."""
    at, clock_at = (
        min(request.lapsed_at or request.at, request.at),
        min(request.lapsed_clock_at or request.clock_at, request.clock_at),
    )
    return (*_history_closed(rollout, at, clock_at), _open_entry(share, request))


def _history_closed(rollout: Rollout, at: datetime, clock_at: datetime) -> tuple[StageSpan, ...]:
    """The stage history with its open entry closed. An entry never ends before it began."""
    *past, last = rollout.stage_history
    return (*past, {**last, "to": max(iso(at), last["from"]), "clock_to": max(iso(clock_at), last["clock_from"])})


def _end_changes(rollout: Rollout, request: TransitionRequest) -> dict[str, Any]:
    """The changes that end a rollout.

    Where no worker watched at the end, an entry without length marks where the gap before it ends.
    """
    history: tuple[StageSpan, ...] = ()
    if rollout.stage_history:
        last = (
            rollout
            if request.lapsed_at is None
            else replace(rollout, stage_history=_next_entry(rollout, rollout.ladder[rollout.stage], request))
        )
        history = _history_closed(last, request.at, request.clock_at)
    return {"ended_at": request.at, "stage_history": history, "lease_expires_at": None, "held": False, "held_by": None}
