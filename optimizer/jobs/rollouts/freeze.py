"""Freezes a family, or all families, to their champions, and ends such a freeze."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import NotFound
from optimizer.core.base.phrasing import when
from optimizer.core.serving.rollout import ALERT, ALL, Freeze, scope_text, unfreeze_command
from optimizer.jobs.context import Context
from optimizer.jobs.ids import new_id
from optimizer.jobs.record_change import Change, checked_reason, tell
from optimizer.jobs.request import Name, Reason, Request
from optimizer.ports import Alert, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeReport(Change):
    """``family`` is None where all are meant."""

    family: str | None
    freezes: tuple[Freeze, ...] = ()  # every freeze that is in force from now on


class FreezeRequest(Request):
    family: Annotated[Name | None, Field(description="Default: every family")] = None
    reason: Reason = ""


def freeze(context: Context, request: FreezeRequest) -> FreezeReport:
    """Serves champions only, at once, for one family or all: no candidate, holdback or override, no advance, no study.

    Safe to repeat.

    Raises:
        NotFound: there is no such family.
    """
    context.require_family(request.family)
    store, clock, actor = context.store, context.clock, context.actor
    why = checked_reason(request.reason)

    def change(tx: Transaction) -> FreezeReport:
        family = _present_name(tx, store, request.family)
        scope = family or ALL
        earlier = next((freeze_record for freeze_record in store.freezes.all(tx) if freeze_record.scope == scope), None)
        if earlier is not None:
            what = f"{scope_text(scope)} is frozen already, by {earlier.by} since {when(earlier.since)}"
            return _report(tx, store, family, what, earlier.reason, undo=earlier.undo, changed=False)
        at = clock.now()
        store.freezes.put(tx, scope, why, actor, at)
        # Leases end at ``at``. The stage resumes with the first tick after the freeze
        ended = []
        for rollout in store.rollouts.all_active(tx):
            lease = rollout.lease_expires_at
            if family in (None, rollout.family) and lease is not None and lease > at:
                store.rollouts.renew_lease(tx, rollout.id, at)
                ended.append(rollout.id)
        detail = (
            f"{scope_text(scope)} is frozen by {actor}: {why}. Only champions are served. To go on:"
            f" {unfreeze_command(scope)}"
        )
        store.alerts.open(
            tx,
            Alert(id=new_id("al"), kind=ALERT, level="info", family=family, subject=scope, opened_at=at, detail=detail),
        )
        tell(tx, store, "freeze", family, family or "all", {"why": why, "leases_ended": ended}, actor=actor, at=at)
        stands = ""
        if ended:
            stands = f"; {', '.join(ended)} stand{'s' if len(ended) == 1 else ''} still, and no user gets a candidate"
        return _report(
            tx,
            store,
            family,
            f"{scope_text(scope)} is frozen: only champions are served{stands}",
            why,
            undo=unfreeze_command(scope),
        )

    return store.write(change)


def unfreeze(context: Context, request: FreezeRequest) -> FreezeReport:
    """Ends the freeze of one family, or the one of all families.

    Rollouts go on with the worker's next tick. Safe to repeat.

    Raises:
        NotFound: there is no such family.
    """
    context.require_family(request.family)
    store, clock, actor = context.store, context.clock, context.actor
    why = checked_reason(request.reason)

    def change(tx: Transaction) -> FreezeReport:
        family = _present_name(tx, store, request.family)
        scope = family or ALL
        if not store.freezes.remove(tx, scope):
            return _report(
                tx,
                store,
                family,
                f"{family} is not frozen by itself" if family else "there is no freeze of all families",
                why,
                changed=False,
            )
        at = clock.now()
        store.alerts.close(tx, ALERT, family, scope, at)
        tell(tx, store, "unfreeze", family, family or "all", {"why": why}, actor=actor, at=at)
        undo = f"detent freeze {scope}".rstrip()
        return _report(tx, store, family, f"the freeze of {scope_text(scope)} has ended", why, undo=undo)

    return store.write(change)


def _present_name(tx: Transaction, store: Store, family: str | None) -> str | None:
    """The family's name as it is now, by which its freeze and the alert about it are found: ``family`` may be a former
    one.
    """
    if family is None:
        return None
    champion = store.champions.current(tx, family)
    if champion is None:
        raise NotFound(
            f"There is no family {family!r} with a champion. See the families with: detent family list.", family=family
        )
    return champion.family


def _report(
    tx: Transaction,
    store: Store,
    family: str | None,
    what: str,
    why: str,
    *,
    undo: str | None = None,
    changed: bool = True,
) -> FreezeReport:
    """The report names what else is frozen, since a family may be under two freezes."""
    freezes = tuple(store.freezes.all(tx))
    others = [
        freeze_record
        for freeze_record in freezes
        if freeze_record.scope != (family or ALL) and (family is None or freeze_record.scope == ALL)
    ]
    is_frozen_itself = any(freeze_record.scope == (family or ALL) for freeze_record in freezes)
    which = "frozen beside it" if is_frozen_itself else "still frozen"
    beside = f"; {which}: {', '.join(scope_text(freeze_record.scope) for freeze_record in others)}" if others else ""
    status = f"detent rollout status {family}" if family else "detent status"
    following = others[0].undo if others and not is_frozen_itself else status
    return FreezeReport(
        family=family, what=what + beside, why=why, undo=undo, next=following, changed=changed, freezes=freezes
    )
