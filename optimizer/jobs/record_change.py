"""Writes what a change of a rollout or champion leaves behind: decision, tenure, audit, outbox, version.

All of it is in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from optimizer.core.base.answers import Text
from optimizer.core.base.errors import Conflict, Fault, InvalidInput, NotFound
from optimizer.core.family.variant import DRAFT, VariantRecord
from optimizer.core.rollout.decision_log import next_decision
from optimizer.core.rollout.transitions import Act, Transition, TransitionRequest, apply, lapse_of
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.serving import champion
from optimizer.core.serving.rollout import Champion, Decision, Rollout
from optimizer.ports import Clock, Store, Transaction

MAX_REASON_CHARS = 2000
log = structlog.get_logger("detent.decisions")


@dataclass(frozen=True, kw_only=True)  # without slots: a rollout that changed has its own
class Change:
    """What a change did, why, and how to take it back or go on.

    ``changed`` is False where there was nothing left to do.
    """

    what: str
    why: Text[str] = ""
    undo: str | None = None
    next: str | None = None
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReport(Change):
    """A change of what a family serves, or is."""

    family: str
    forced: bool = False
    decision: Decision | None = None
    champion: Champion | None = None
    instead_of: str | None = None  # the variant that was champion before
    becomes: str | None = None  # of a dry run: the variant that would be champion
    models: Sequence[str] = ()  # that the champion asks
    dry_run: bool = False
    warning: str | None = None  # why the champion will not answer all the same
    shown_worse: str | None = None  # that users have found it worse than another


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChange(Change, Rollout):
    """A rollout as it is now, after what was done to it.

    ``forced``: whether some act on it was; ``decision`` says it of this one. ``reign``: the tenure that it began.
    """

    decision: Decision | None = None
    reign: Champion | None = None


def checked_reason(reason: str | None) -> str:
    """The reason as it goes into the record: never empty, of bounded length, storable as UTF-8."""
    text = (reason or "").strip() or "no reason given"
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "The reason is no valid Unicode text.", [Fault(pointer="/reason", detail="half a surrogate pair")]
        ) from None
    if len(text) > MAX_REASON_CHARS:
        detail = (
            f"it has {len(text)} characters, at most {MAX_REASON_CHARS} are kept for ever in the record; shorten it"
        )
        raise InvalidInput(f"The reason is too long: {detail}.", [Fault(pointer="/reason", detail=detail)])
    return text


def record_transition(tx: Transaction, store: Store, transition: Transition) -> Decision:
    """Appends the decision, saves the rollout and tells audit, outbox and serving processes.

    Raises StaleVersion when it was overtaken.
    """
    rollout, request = transition.rollout, transition.request
    decision = next_decision(transition, store.rollouts.last_decision(tx, rollout.id))
    store.rollouts.save(tx, rollout, decision)
    detail: dict[str, Any] = {
        "what": transition.what,
        "why": request.reason,
        "forced": transition.forced,
        "hash": decision.hash,
    }
    tell(tx, store, f"rollout.{request.act}", rollout.family, rollout.id, detail, actor=request.actor, at=request.at)
    store.outbox.add(tx, "rollout", rollout.id, {"seq": decision.seq, "hash": decision.hash}, request.at)
    if not rollout.is_active:
        for alert in store.alerts.all(tx, open_only=True, subject=rollout.id):
            store.alerts.close(tx, alert.kind, alert.family, alert.subject, request.at)
    return decision


def record_tenure(
    tx: Transaction, store: Store, tenure: Champion, *, action: str, evidence: Mapping[str, Any] | None = None
) -> None:
    """Ends the current tenure, starts this one and tells audit, outbox and serving processes.

    ``evidence``: what a change rests on that no person ordered; ``rollout verify`` judges it again.
    """
    store.champions.put(tx, tenure)
    detail: dict[str, Any] = {"variant": tenure.variant, "why": tenure.why, "forced": tenure.forced, "seq": tenure.seq}
    if evidence is not None:
        detail["evidence"] = dict(evidence)
    tell(tx, store, action, tenure.family, tenure.variant, detail, actor=tenure.by, at=tenure.since)
    store.outbox.add(tx, "prompt", tenure.family, {"variant": tenure.variant, "seq": tenure.seq}, tenure.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """How one champion replaces another.

    Args:
        action: its name on record.
        says: the text behind the variant's name.
        evidence: what it rests on where no person ordered it.
    """

    action: str
    says: str
    undo: str
    evidence: Mapping[str, Any] | None = None


def replace_champion(
    tx: Transaction, store: Store, clock: Clock, tenure: Champion, *, before: Champion, by: Succession, why: str
) -> ChangeReport:
    """Lets ``tenure`` begin at once, in place of ``before``; an active rollout ends first."""
    ended = end_active_rollout(tx, store, clock, tenure.family, at=tenure.since, actor=tenure.by, why=tenure.why)
    record_tenure(tx, store, tenure, action=by.action, evidence=by.evidence)
    what = f"{describe_tenure(tx, store, tenure)} {by.says}, instead of {describe_tenure(tx, store, before)}"
    return ChangeReport(
        family=tenure.family,
        what=what + (f"; rollout {ended.rollout} ended" if ended else ""),
        why=why,
        undo=by.undo,
        forced=tenure.forced,
        champion=tenure,
        decision=ended,
        models=models_asked(tx, store, tenure),
        instead_of=before.variant,
    )


def describe_tenure(tx: Transaction, store: Store, tenure: Champion) -> str:
    """The variant of a tenure with what tells a person which one that is: its models, and where it came from."""
    record = store.variants.get(tx, tenure.family, tenure.variant)
    models = models_asked(tx, store, tenure)
    facts = [f"model {' and '.join(models)}"] if models else []
    if record is not None and record.file_version is not None:
        # The file may have had several texts under this version's name: they are told apart by the order of storing.
        same = [v for v in store.variants.of_family(tx, record.family) if v.file_version == record.file_version]
        same.sort(key=lambda version: (version.created_at, version.variant.id))
        place = [version.variant.id for version in same].index(record.variant.id)
        several = f", number {place + 1} of {len(same)} that had this name" if len(same) > 1 else ""
        facts.append(f"version {record.file_version} of the file{several}")
    elif record is not None and record.study is not None:
        facts.append(f"of study {record.study}")
    return tenure.variant + (f" ({', '.join(facts)})" if facts else "")


def require_variant(tx: Transaction, store: Store, family: str, variant: str) -> VariantRecord:
    """Raises NotFound where the family has no such variant."""
    record = store.variants.get(tx, family, variant)
    if record is None:
        raise NotFound(
            f"Family {family!r} has no variant {variant!r}. See them with: detent variant list {family}.",
            family=family,
            variant=variant,
        )
    return record


def list_draft(tx: Transaction, store: Store, record: VariantRecord) -> None:
    """What is put to use is listed, also where nobody has saved it."""
    if record.source == DRAFT:
        store.variants.add(tx, replace(record, source="person"))


def models_asked(tx: Transaction, store: Store, tenure: Champion) -> tuple[str, ...]:
    """Names of the models that answer for the variant of a tenure; none for one without a prompt."""
    record = store.variants.get(tx, tenure.family, tenure.variant)
    return tuple(models_of(record.variant, {})) if record is not None else ()


def promote(tx: Transaction, store: Store, transition: Transition) -> Champion | None:
    """The new tenure of a promotion, on top of the one that the rollout was compared with; None for other
    transitions.
    """
    if transition.champion_change is None:
        return None
    rollout, request = transition.rollout, transition.request
    current = store.champions.current(tx, rollout.family)
    if current is None or current.variant != rollout.champion:
        raise Conflict(
            f"Cannot promote rollout {rollout.id}: it was compared with {rollout.champion}, but the champion of"
            f" {rollout.family} is {current.variant if current else 'none'}. Start a new rollout against the present"
            " champion.",
            rollout=rollout.id,
        )
    tenure = champion.next_tenure(
        current,
        variant=transition.champion_change,
        at=request.at,
        by=request.actor,
        why=f"promoted: {request.reason}",
        forced=transition.forced,
        rollout=rollout.id,
    )
    record_tenure(tx, store, tenure, action="champion.promote")
    return tenure


def transition_request(
    rollout: Rollout, act: Act, at: datetime, clock: Clock, *, actor: str, reason: str
) -> TransitionRequest:
    """The request for an act now, on both clocks, with the end of a lease that has run out."""
    clock_at = clock.rollout_now()
    lapsed_at, lapsed_clock_at = lapse_of(rollout, at=at, clock_at=clock_at, scale=clock.scale)
    return TransitionRequest(
        act=act,
        at=at,
        clock_at=clock_at,
        actor=actor,
        reason=reason,
        lapsed_at=lapsed_at,
        lapsed_clock_at=lapsed_clock_at,
    )


def end_active_rollout(
    tx: Transaction, store: Store, clock: Clock, family: str, *, at: datetime, actor: str, why: str
) -> Decision | None:
    """Ends the family's active rollout, since its champion changes in this transaction; None when there is none."""
    rollout = store.rollouts.active(tx, family)
    if rollout is None:
        return None
    request = transition_request(rollout, "end", at, clock, actor=actor, reason=f"the champion changed: {why}")
    return record_transition(tx, store, apply(rollout, replace(request, outcome="champion_changed")))


def hold_active(tx: Transaction, store: Store, clock: Clock, family: str, *, actor: str, reason: str) -> None:
    """Holds the family's rollout, where one is under way; a person resumes it. ``actor``: who is no "system:…", since
    the tick takes back what that holds.
    """
    rollout = store.rollouts.active(tx, family)
    if rollout is None or rollout.held or rollout.status != "deploying":
        return
    transition = apply(rollout, transition_request(rollout, "hold", clock.now(), clock, actor=actor, reason=reason))
    if transition.changed:
        record_transition(tx, store, transition)


def log_head(decision: Decision | None) -> None:
    """Says the head hash of a chain aloud after its commit: who can rewrite the database cannot rewrite the log."""
    if decision is not None:
        log.info(
            "decision",
            rollout=decision.rollout,
            seq=decision.seq,
            kind=decision.kind,
            forced=decision.forced,
            head=decision.hash,
        )


def tell(
    tx: Transaction,
    store: Store,
    action: str,
    family: str | None,
    subject: str,
    detail: dict[str, Any],
    *,
    actor: str,
    at: datetime,
) -> None:
    """Audit, and the serving processes."""
    store.audit.add(tx, at=at, actor=actor, action=action, family=family, subject=subject, detail=detail)
    store.serving_version.bump(tx)
