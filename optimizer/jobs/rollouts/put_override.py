"""Gives one unit a named variant for a while, for testing: counted in no arm."""

from __future__ import annotations

from datetime import datetime

from optimizer.core.base.errors import Fault, InvalidInput, NotFound
from optimizer.core.serving.assignment import unit_hmac
from optimizer.ports import Clock, Store, Transaction


def put_override(
    family: str, unit: str, *, variant: str, until: datetime, actor: str, store: Store, clock: Clock, unit_key: bytes
) -> str:
    """Stores the override under the unit's HMAC, which it returns; the unit itself is not kept.

    A time that is over ends an override.

    Raises:
        InvalidInput: the unit is empty, or ``until`` has no time zone.
        NotFound: the family has no such variant.
    """
    faults = []
    if not unit:
        faults.append(Fault(pointer="/unit", detail="the unit is empty; name the user, session or conversation"))
    if until.tzinfo is None:
        faults.append(
            Fault(pointer="/until", detail="the time has no zone; write it as RFC 3339, such as 2026-11-20T12:00:00Z")
        )
    if faults:
        raise InvalidInput("Cannot set the override: " + "; ".join(f.detail for f in faults), faults)
    hashed = unit_hmac(unit_key, unit)

    def change(tx: Transaction) -> None:
        if store.variants.get(tx, family, variant) is None:
            raise NotFound(
                f"Family {family!r} has no variant {variant!r}. See them with: detent variant list {family}.",
                family=family,
                variant=variant,
            )
        at = clock.now()
        store.overrides.put(tx, family, hashed, variant, until, actor, at)
        detail = {"variant": variant, "until": until.isoformat()}
        store.audit.add(tx, at=at, actor=actor, action="override.put", family=family, subject=hashed, detail=detail)
        store.serving_version.bump(tx)

    store.write(change)
    return hashed
