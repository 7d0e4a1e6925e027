"""What clients that decide in process need of all families, kept as bytes for as long as it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from api.prompt import ServedFamily, time_text, to_json
from optimizer.core.base.answers import etag_of
from optimizer.core.serving.access import Access
from optimizer.core.serving.assignment import HOLDBACK_SHARE, Choice, leased
from optimizer.core.serving.family_names import former_of

Families = Mapping[str, ServedFamily]
MOST = 100  # sets of families that keys are for


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotBody:
    """``until``: when the first lease or holdback in it ends; None: none does."""

    of: Families
    body: bytes
    etag: str
    until: datetime | None


@dataclass(slots=True)
class Snapshots:
    """The last one for each set of families that a key may see."""

    _bodies: dict[tuple[str, ...] | None, SnapshotBody] = field(default_factory=dict)

    def of(self, families: Families, access: Access, now: datetime) -> SnapshotBody:
        """``families`` is the same object for as long as nothing in it has changed."""
        snapshot = self._bodies.get(access.families)
        if snapshot is None or snapshot.of is not families or (snapshot.until is not None and snapshot.until <= now):
            if len(self._bodies) >= MOST:
                self._bodies.clear()
            snapshot = self._bodies[access.families] = _snapshot_body(families, access, now)
        return snapshot


def visible_families(families: Families, access: Access) -> dict[str, ServedFamily]:
    """Those that a key may see, by each name that clients still use."""
    visible = {name: family for name, family in sorted(families.items()) if access.may_see(name)}
    former = sorted(former_of(families).items())
    return visible | {old: visible[new] for old, new in former if new in visible}


def _snapshot_body(families: Families, access: Access, now: datetime) -> SnapshotBody:
    visible = visible_families(families, access)
    body = to_json({"families": {name: _snapshot_of(family, now) for name, family in visible.items()}})
    until = min((end for family in visible.values() for end in _ends(family) if end > now), default=None)
    return SnapshotBody(of=families, body=body, etag=etag_of(body), until=until)


def _ends(family: ServedFamily) -> Iterator[datetime]:
    if family.rollout is not None and family.rollout.lease_expires_at is not None:
        yield family.rollout.lease_expires_at
    if family.holdback is not None:
        yield family.holdback.until


def _snapshot_of(family: ServedFamily, now: datetime) -> dict[str, Any]:
    entry: dict[str, Any] = {"champion": family.shape(family.champion_choice()), "rollout": None, "holdback": None}
    rollout, holdback = family.rollout, family.holdback
    if family.freeze is not None or family.environment is not None:
        return entry
    if rollout is not None and rollout.share is not None and leased(rollout, now):
        candidate = Choice(variant=rollout.candidate, role="candidate", rollout=rollout.id, stage=rollout.share)
        entry["rollout"] = {
            "id": rollout.id,
            "salt": rollout.salt,
            "share": rollout.share,
            "lease_expires_at": family.shape(candidate)["lease_expires_at"],
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
