"""Who is asking: keys, their roles, and the name that stands in every decision.

Without any key the server is open to this machine alone. Once a key was made, every request needs one, also after the
last one was revoked: revoking a key must never open a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from optimizer.core.errors import NotAuthenticated, NotAuthorised
from optimizer.ports_in_use import is_loopback

Role = Literal["read", "feedback", "operate", "admin"]  # each may do what the ones before it may
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request. ``actor`` goes into decisions and audit, ``quota`` is whom limits are counted for."""

    actor: str
    role: Role
    quota: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of the installation by SHA-256 of their secret; revoked ones count as existing, but open nothing."""

    any_exist: bool
    by_hash: Mapping[str, tuple[str, Role]]

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> Keys:
        valid = {row["secret_hash"]: (row["name"], row["role"]) for row in rows if row["revoked_at"] is None and row["role"] in ROLES}
        return cls(any_exist=bool(rows), by_hash=valid)


def identify(headers: Mapping[str, str], client_host: str | None, keys: Keys, actor_without_key: str) -> Caller:
    """The caller; raises NotAuthenticated for a missing or unknown key, NotAuthorised for another machine where no key exists."""
    if not keys.any_exist:
        _require_this_machine(headers, client_host)
        return Caller(actor=actor_without_key, role="admin", quota=f"address:{client_host or 'local'}")
    secret = _secret(headers)
    if secret is None:
        raise NotAuthenticated("This server asks for a key. Send `Authorization: Bearer KEY` or `X-API-Key: KEY`; `detent keys` makes one.")
    found = keys.by_hash.get(sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())
    if found is None:
        raise NotAuthenticated("The key is unknown or was revoked. `detent keys` lists the valid ones and makes a new one.")
    name, role = found
    return Caller(actor=name, role=role, quota=f"key:{name}")


def require(caller: Caller, role: Role) -> None:
    if ROLES.index(caller.role) < ROLES.index(role):
        raise NotAuthorised(
            f"The key {caller.actor!r} has role {caller.role}, and this needs role {role}. Use a key with that role; `detent keys` makes one.",
            role=caller.role,
            needed=role,
        )


def _secret(headers: Mapping[str, str]) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key") or None


def _require_this_machine(headers: Mapping[str, str], client_host: str | None) -> None:
    if not is_loopback(client_host):
        raise NotAuthorised(
            "Without keys this server answers this machine only. Make a key with `detent keys` and send it as `Authorization: Bearer KEY`."
        )
    # A web page open in a browser on this machine reaches loopback too, by its own origin or by a name that it points here.
    origin = headers.get("origin")
    if origin is not None and not _names_this_machine(origin):
        raise NotAuthorised(f"Without keys this server takes no requests from web pages of {origin}. Make a key with `detent keys`.")
    host = headers.get("host", "")
    if not _names_this_machine(host):
        raise NotAuthorised(
            f"Without keys this server answers to this machine's own names only, not to {host!r}. Use 127.0.0.1, or make a key with `detent keys`."
        )


@lru_cache(maxsize=1024)
def _names_this_machine(host_or_origin: str) -> bool:
    """True for loopback addresses and for names without a dot, which no public web site can have."""
    try:
        name = urlsplit(host_or_origin if "//" in host_or_origin else f"//{host_or_origin}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or ("." not in name and ":" not in name and host_or_origin != "null")
