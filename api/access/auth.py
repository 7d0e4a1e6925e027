"""Authenticates requests: keys, what each may do, and the name that every decision records.

Without any key the server is open to this machine alone. Once a key was made, every request needs one, even after the
last one was revoked: revoking a key must never open a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from optimizer.core.base.errors import NotAuthenticated
from optimizer.core.serving import access
from optimizer.core.serving.access import EVERYTHING, Access, Role, hash_of
from optimizer.ports import KeyRecord


class WrongKey(NotAuthenticated):
    """A key came, and it opens nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request."""

    actor: str  # its name in decisions and audit
    access: Access
    quota: str  # its name in limits
    agent: str | None = None  # what a caller without a key calls itself; None: it has one

    @property
    def is_counted(self) -> bool:
        """Whether its requests are counted, by the minute or for people to see."""
        return self.access.limits.requests_per_minute is not None or self.agent is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opens:
    """What one secret opens, and until when; None: until it is revoked."""

    caller: Caller
    until: datetime | None = None
    why_over: str = "expired"

    def is_over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of the installation by SHA-256 of their secrets; revoked ones count as existing, but open nothing."""

    any_exist: bool
    open_until: datetime | None = None  # requests of this machine without a key go on until then
    by_hash: Mapping[str, Opens] = field(default_factory=dict)

    @classmethod
    def from_records(cls, records: Sequence[KeyRecord]) -> Keys:
        valid: dict[str, Opens] = {}
        for key in records:
            if key.revoked_at is not None:
                continue
            ends = key.access.expires_at
            caller = Caller(actor=key.name, access=key.access, quota=f"key:{key.name}")
            valid[key.secret_hash] = Opens(caller=caller, until=ends)
            if key.previous_hash is not None and key.previous_until is not None:
                until = key.previous_until if ends is None else min(ends, key.previous_until)
                valid[key.previous_hash] = Opens(
                    caller=caller, until=until, why_over="has a new secret, and the old one ended"
                )
        open_until = max((key.keyless_until for key in records if key.keyless_until is not None), default=None)
        return cls(any_exist=bool(records), open_until=open_until, by_hash=valid)

    def is_open_to(self, headers: Mapping[str, str], now: datetime) -> bool:
        """Whether ``local_door`` decides about a request, and no key; the caller is then one ``without_key``."""
        if not self.any_exist:
            return True
        return self.open_until is not None and now < self.open_until and secret_of(headers) is None


def identify(headers: Mapping[str, str], keys: Keys, now: datetime) -> Caller:
    """The caller of a request that needs a key. Raises NotAuthenticated for a missing or unknown one."""
    secret = secret_of(headers)
    if secret is None:
        raise NotAuthenticated(
            "This server asks for a key. Send `Authorization: Bearer KEY` or `X-API-Key: KEY`;"
            " `detent keys create NAME --role ROLE` makes one."
        )
    record = keys.by_hash.get(hash_of(secret))
    if record is None:
        raise WrongKey(
            "The key is unknown or was revoked. `detent keys list` shows the valid ones, and"
            " `detent keys create NAME --role ROLE` makes a new one."
        )
    if record.until is not None and record.is_over(now):
        name = record.caller.actor
        raise WrongKey(
            f"The key {name!r} {record.why_over} at {record.until.isoformat()}. `detent keys create` makes a new one.",
            key=name,
        )
    return record.caller


@lru_cache(maxsize=1024)
def without_key(actor: str, host: str | None, agent: str) -> Caller:
    return Caller(actor=actor, access=EVERYTHING, quota=f"address:{host or 'local'}", agent=agent)


def require(caller: Caller, role: Role) -> None:
    access.require(caller.access, role, actor=caller.actor)


def require_family(caller: Caller, family: str | None) -> None:
    access.require_family(caller.access, family, actor=caller.actor)


def secret_of(headers: Mapping[str, str]) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    key = value.strip() if scheme.lower() == "bearer" else ""
    return key or headers.get("x-api-key") or None
