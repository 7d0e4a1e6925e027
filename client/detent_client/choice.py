"""Which variant a unit gets: the server's formula (optimizer/core/serving/assignment.py there), on what a snapshot
says. Pure: time is an argument.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detent_client.template import Template

N_BUCKETS = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant as a snapshot shows it. ``id``: None for a fallback of the application's own."""

    family: str
    id: str | None
    template: Template
    model: Mapping[str, Any]
    tools: list[dict[str, Any]] | None = None
    response_format: Mapping[str, Any] | None = None
    needs_server: bool = False  # it has a policy, which the server carries out


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``rollout`` and ``stage`` are None unless the unit stands in an arm."""

    variant: Variant
    role: str  # champion, candidate, holdback or fallback
    rollout: str | None = None
    stage: float | None = None
    is_counted: bool = True
    token: str | None = None  # of the server, where it chose and counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A rollout, or the holdback after it: units below ``first_bucket`` get one choice, the others the other."""

    rollout: str
    salt: bytes  # with the zero byte behind it
    first_bucket: int
    below: Choice
    from_there: Choice
    until: float  # the lease's end, or the holdback's: seconds since 1970 by the server's clock

    def choice(self, unit: str, outside: Choice) -> Choice:
        """``outside``: of who stands in no arm: everybody where one arm is the server's to carry out, since the other
        alone would be of other users.
        """
        if self.below.variant.needs_server or self.from_there.variant.needs_server:
            return outside
        return self.below if bucket(self.salt, unit) < self.first_bucket else self.from_there


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Units that get a variant for testing, by the hash of each; with the time until which they do."""

    salt: bytes
    units: Mapping[str, tuple[Choice, float]]

    def choice(self, unit: str, server_now: float) -> Choice | None:
        hashed = hashlib.sha256(self.salt + unit.encode("utf-8", "surrogatepass")).hexdigest()
        choice, until = self.units.get(hashed, (None, 0.0))
        return choice if server_now < until else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyEntry:
    """One family of a snapshot. ``store``: what of its texts may be kept (full, masked or metadata)."""

    name: str
    champion: Choice  # of who stands in no arm
    rollout: Split | None = None
    holdback: Split | None = None
    overrides: Overrides | None = None
    store: str = "full"

    def choose(self, unit: str | None, server_now: float | None, leases: Mapping[str, float]) -> Choice:
        """``leases``: by rollout, the end of those that were renewed since the snapshot. ``server_now``: at the latest;
        None where it is not known, and then no lease holds.
        """
        if unit is None or server_now is None:
            return self.champion
        if self.overrides is not None and (override := self.overrides.choice(unit, server_now)) is not None:
            return override
        rollout, holdback = self.rollout, self.holdback
        if rollout is not None and server_now < leases.get(rollout.rollout, rollout.until):
            return rollout.choice(unit, self.champion)
        if rollout is None and holdback is not None and server_now < holdback.until:
            return holdback.choice(unit, self.champion)
        return self.champion


def bucket(salt: bytes, unit: str) -> int:
    """First 4 bytes, big-endian, of the SHA-256 of the salt, which ends with its zero byte, and the unit."""
    return int.from_bytes(hashlib.sha256(salt + unit.encode("utf-8", "surrogatepass")).digest()[:4], "big")


def salt_bytes(salt: str) -> bytes:
    return salt.encode() + b"\x00"


def first_bucket_of(share: float) -> int:
    """Buckets below it are in the share: a larger one never moves a unit back."""
    return math.floor(share * N_BUCKETS)
