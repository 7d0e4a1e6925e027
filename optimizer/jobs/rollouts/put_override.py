"""Serves one unit a named variant for a while, for testing. The unit counts in no arm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field
from pydantic_core import to_json

from optimizer.core.base.answers import check_preconditions, etag_of
from optimizer.core.serving.assignment import OVERRIDE_SALT, Override, unit_hash
from optimizer.core.serving.family_names import no_family
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import require_variant
from optimizer.jobs.request import EntityTags, FamilyRequest, Moment, Name, Unit
from optimizer.ports import Transaction


class OverrideRequest(FamilyRequest):
    unit: Unit
    variant: Name
    until: Annotated[Moment | None, Field(description="Default: a day from now")] = None
    if_match: EntityTags = None
    if_none_match: EntityTags = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideReport:
    family: str
    unit: str
    variant: str
    until: datetime

    @property
    def etag(self) -> str:
        return etag_of(to_json([self.variant, self.until.timestamp()]))


def put_override(context: Context, request: OverrideRequest) -> OverrideReport:
    """Serves one unit a named variant until a time, for testing, counted in no arm of a rollout.

    A time that is over ends the override. It is stored under the unit's HMAC, with a salted hash of the unit for
    clients that decide in process; the unit itself is not kept.

    Raises:
        NotFound: the family serves nothing, or has no such variant.
        PreconditionFailed: the unit has another override than the request was decided on.
    """
    store, clock, family, variant = context.store, context.clock, request.family, request.variant
    hashed, salt = context.hmac_unit(request.unit), context.hmac_unit(OVERRIDE_SALT)

    def change(tx: Transaction) -> OverrideReport:
        if store.champions.current(tx, family) is None:
            raise no_family(family)
        at = clock.now()
        until = request.until or at + timedelta(days=1)
        report = OverrideReport(family=family, unit=request.unit, variant=variant, until=until)
        present = store.family_names.former(tx).get(family, family)
        active = next((row[2] for row in store.overrides.active(tx, at) if row[:2] == (present, hashed)), None)
        before = (
            OverrideReport(family=family, unit=request.unit, variant=active.variant, until=active.until)
            if active
            else None
        )
        check_preconditions(
            before.etag if before is not None else None,
            if_match=request.if_match,
            if_none_match=request.if_none_match,
        )
        require_variant(tx, store, family, variant)
        override = Override(variant, until, unit_hash(salt, request.unit))
        store.overrides.put(tx, family, hashed, override, context.actor, at)
        detail = {"variant": variant, "until": until.isoformat()}
        store.audit.add(
            tx, at=at, actor=context.actor, action="override.put", family=family, subject=hashed, detail=detail
        )
        store.serving_version.bump(tx)
        return report

    return store.write(change)
