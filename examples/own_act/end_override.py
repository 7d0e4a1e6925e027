"""Ends the override of a unit before its time."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.jobs.context import Context
from optimizer.jobs.record_change import checked_reason
from optimizer.jobs.request import Reason, Request
from optimizer.ports import Transaction


class EndOverrideRequest(Request):
    family: str
    unit: str
    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOverrideReport:
    family: str
    what: str
    changed: bool


def end_override(context: Context, request: EndOverrideRequest) -> EndOverrideReport:
    """Serves a unit what it would get by itself, from now on. Safe to repeat."""
    store, family, why = context.store, request.family, checked_reason(request.reason)
    unit = context.hmac_unit(request.unit)

    def change(tx: Transaction) -> EndOverrideReport:
        at = context.clock.now()
        override = next((row for row in store.overrides.active(tx, at) if row[:2] == (family, unit)), None)
        if override is None:
            return EndOverrideReport(family=family, what="the unit has no override", changed=False)
        store.overrides.put(tx, family, unit, override[2]._replace(until=at), context.actor, at)
        store.audit.add(
            tx, at=at, actor=context.actor, action="override.end", family=family, subject=unit, detail={"why": why}
        )
        store.serving_version.bump(tx)
        return EndOverrideReport(family=family, what=f"the override with {override[2].variant} has ended", changed=True)

    return store.write(change)
