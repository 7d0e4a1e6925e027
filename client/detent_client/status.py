"""How a client stands: what it serves, how old that is, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detent_client.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyStatus:
    """``lease_s``: for so long the candidate may be served without news; 0 where the lease ran out."""

    variant: str | None
    candidate: str | None = None
    share: float | None = None
    lease_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``age_s``: since the server last said what it serves; None: it never did. ``failure``: why it cannot be asked
    now, or takes nothing of what waits.
    """

    client: str
    age_s: float | None
    failure: str | None
    families: Mapping[str, FamilyStatus]
    n_fallbacks: int  # prompts that were served from the fallback
    events_sent: int
    events_in_no_arm: int  # of these: the server kept them, but no stage of their rollout fits
    events_waiting: int
    events_dropped: int
    events_rejected: Mapping[str, int]  # by the server's word for why
    exposures_waiting: int
    exposures_dropped: int
    exposures_taken_back: int  # of prompts that left their arm


def families_status(snapshot: Snapshot | None, monotonic_s: float) -> dict[str, FamilyStatus]:
    families = {}
    for name, entry in snapshot.families.items() if snapshot is not None else ():
        rollout, champion = entry.rollout, entry.champion.variant.id
        if rollout is None or snapshot is None:
            families[name] = FamilyStatus(variant=champion)
            continue
        end = snapshot.leases.get(rollout.rollout, rollout.until)
        lease_s = max(0.0, end - snapshot.time.latest(monotonic_s)) if snapshot.time is not None else 0.0
        families[name] = FamilyStatus(
            variant=champion, candidate=rollout.below.variant.id, share=rollout.below.stage, lease_s=lease_s
        )
    return families
