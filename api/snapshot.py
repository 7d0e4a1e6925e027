"""The snapshot of all families for clients that decide in process, kept as bytes for as long as it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from api.prompt import ServedFamily, time_text, to_json
from optimizer.core.base.answers import etag_of
from optimizer.core.serving.access import Access
from optimizer.core.serving.assignment import HOLDBACK_SHARE, Choice, has_lease
from optimizer.core.serving.family_names import former_of

Families = Mapping[str, ServedFamily]
Asked = tuple[tuple[str, ...] | None, frozenset[str] | None]  # families that the key is for, and that it wants
MOST = 100  # answers that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBody:
    """The snapshot as it is sent.

    ``etag`` covers all but the leases, which each tick of the worker renews: a client that has the rest reads those in
    ``leases``, a header. ``until``: when the first lease, override or holdback in it ends; None: none does.
    """

    of: Families
    body: bytes
    etag: str
    leases: bytes
    until: datetime | None


@dataclass(slots=True)
class Snapshots:
    """The last one for each set of families that a key may see and asks for.

    ``override_salt``: of the hashes that name the units of overrides.
    """

    override_salt: str = ""
    _bodies: dict[Asked, SnapshotBody] = field(default_factory=dict)

    def of(
        self, families: Families, access: Access, now: datetime, wanted: frozenset[str] | None = None
    ) -> SnapshotBody:
        """``families`` is the same object for as long as nothing in it has changed. ``wanted``: None for all."""
        scope = access.families, wanted
        snapshot = self._bodies.get(scope)
        if snapshot is None or snapshot.of is not families or (snapshot.until is not None and snapshot.until <= now):
            if len(self._bodies) >= MOST:
                self._bodies.clear()
            visible = visible_families(families, access)
            if wanted is not None:
                visible = {name: family for name, family in visible.items() if name in wanted}
            entries = {name: _snapshot_of(family, now, self.override_salt) for name, family in visible.items()}
            until = min((end for family in visible.values() for end in _ends(family) if end > now), default=None)
            rollouts = [entry["rollout"] for entry in entries.values() if entry["rollout"] is not None]
            snapshot = self._bodies[scope] = SnapshotBody(
                of=families,
                body=to_json({"families": entries}),
                etag=etag_of(to_json([(name, _without_lease(entry)) for name, entry in entries.items()])),
                leases=", ".join(sorted({f"{of['id']}={of['lease_expires_at']}" for of in rollouts})).encode(),
                until=until,
            )
        return snapshot


def visible_families(families: Families, access: Access) -> dict[str, ServedFamily]:
    """The families that a key may see, by each name that clients still use."""
    visible = {name: family for name, family in sorted(families.items()) if access.may_see(name)}
    return visible | {old: visible[new] for old, new in sorted(former_of(families).items()) if new in visible}


def _without_lease(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if (rollout := entry["rollout"]) is None:
        return entry
    return {
        **entry,
        "rollout": {
            **rollout,
            "lease_expires_at": None,
            "candidate": {**rollout["candidate"], "lease_expires_at": None},
        },
    }


def _ends(family: ServedFamily) -> Iterator[datetime]:
    if family.rollout is not None and family.rollout.lease_expires_at is not None:
        yield family.rollout.lease_expires_at
    if family.holdback is not None:
        yield family.holdback.until
    for override in family.overrides.values():
        yield override.until


def _snapshot_of(family: ServedFamily, now: datetime, salt: str) -> dict[str, Any]:
    privacy = family.definition.privacy.store if family.definition is not None else "metadata"
    entry: dict[str, Any] = {
        "champion": family.shape(family.champion_choice()),
        "rollout": None,
        "holdback": None,
        "overrides": None,
        "privacy": {"store": privacy},
    }
    # Where a student is compared nobody who fetches stands in an arm.
    rollout, holdback = (None, None) if family.compares_student else (family.rollout, family.holdback)
    if family.freeze is not None or family.environment is not None:
        return entry
    units = {
        override.unit_hash: {"variant": override.variant, "until": time_text(override.until)}
        for override in family.overrides.values()
        if override.unit_hash is not None and override.until > now
    }
    if units:
        variants = {str(unit["variant"]) for unit in units.values()}
        choices = [family.override_choice(id) for id in sorted(variants)]
        entry["overrides"] = {
            "salt": salt,
            "units": units,
            "prompts": {choice.variant: family.shape(choice) for choice in choices},
        }
    if rollout is not None and rollout.share is not None and has_lease(rollout, now):
        candidate = Choice(variant=rollout.candidate, role="candidate", rollout=rollout.id, stage=rollout.share)
        entry["rollout"] = {
            "id": rollout.id,
            "salt": rollout.salt,
            "share": rollout.share,
            "lease_expires_at": time_text(family.lease_of(candidate)),
            "cohort_minutes": rollout.settings.get("cohort_minutes"),
            "candidate": family.shape(candidate),
        }
    if holdback is not None and now < holdback.until:
        before = Choice(variant=holdback.variant, role="holdback", rollout=holdback.rollout)
        entry["holdback"] = {
            "rollout": holdback.rollout,
            "variant": holdback.variant,
            "salt": holdback.salt,
            "share": HOLDBACK_SHARE,
            "until": time_text(holdback.until),
            "cohort_minutes": holdback.cohort_minutes,
            "prompt": family.shape(before),
        }
    return entry
