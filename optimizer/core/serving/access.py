"""What a key may do: a role on one of two ladders, sources that need a right of their own, families, an end, limits.

Applications climb serve < feedback; people and their tools read < read-texts < operate. A role of one ladder includes
nothing of the other, so the key in an application reads nothing, and a dashboard's key serves nothing. admin has all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Literal, cast, get_args

from typing_extensions import TypedDict

from optimizer.core.base.errors import Fault, InvalidInput, NotAuthorised

Role = Literal["serve", "feedback", "read", "read-texts", "operate", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
LADDERS: tuple[tuple[Role, ...], ...] = (("serve", "feedback"), ("read", "read-texts", "operate"))
COMMAND_LINE = "detent-command-line"  # User-Agent of the commands, which go on without a key
# Their outcomes count for more than a user's, so a key needs the right to send them.
SOURCES_WITH_A_RIGHT = ("person", "judge")
MEANINGS: Mapping[Role, str] = {
    "serve": "fetches and renders prompts, takes snapshots, asks for chat completions",
    "feedback": "serve, and reports interactions, outcomes and exposures",
    "read": "figures: families, studies, rollouts, alerts, who did what; no texts",
    "read-texts": "read, and the texts: prompts, examples, inputs, outputs, feedback, reviews, reasons",
    "operate": "read-texts, and every change: variants, studies, rollouts, schedules, freezes",
    "admin": "everything, keys and forgetting people included",
}


class LimitsRecord(TypedDict, total=False):
    requests_per_minute: int
    calls_per_day: int
    usd_per_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """The most that a key may use, held across processes; None: no limit. Days are those of UTC."""

    requests_per_minute: int | None = None
    calls_per_day: int | None = None  # model calls on the wire, retries and fallbacks included
    usd_per_day: float | None = None

    def as_record(self) -> LimitsRecord:
        return cast(LimitsRecord, {name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one key may do, checked when it was made (``access_of``)."""

    roles: tuple[Role, ...]
    sources: tuple[str, ...] = ()
    families: tuple[str, ...] | None = None  # None: all of them
    expires_at: datetime | None = None
    limits: KeyLimits = field(default_factory=KeyLimits)

    def reaches(self, needed: Role) -> bool:
        return needed in _roles_held(self.roles)

    def may_see(self, family: str | None) -> bool:
        """A key for named families sees nothing that belongs to no family, or to all of them."""
        return self.families is None or family in self.families

    def may_send(self, source: str) -> bool:
        return source not in SOURCES_WITH_A_RIGHT or source in self.sources or "admin" in self.roles


EVERYTHING = Access(roles=("admin",))


def access_of(
    roles: Iterable[str],
    *,
    sources: Iterable[str] = (),
    families: Iterable[str] | None = None,
    expires_at: datetime | None = None,
    limits: Mapping[str, float | None] | None = None,
    now: datetime,
) -> Access:
    """Checks what a new key is asked to hold; raises InvalidInput with every fault."""
    roles, sources = list(dict.fromkeys(roles)), list(dict.fromkeys(sources))
    named = None if families is None else tuple(sorted(set(families)))
    limits_set = {name: value for name, value in (limits or {}).items() if value is not None}
    faults = [Fault(pointer="/roles", detail=detail) for detail in _wrong_roles(roles)]
    for source in sources:
        if source not in SOURCES_WITH_A_RIGHT:
            faults.append(
                Fault(
                    pointer="/sources",
                    detail=f"{source!r} needs no right of its own; those that do are {', '.join(SOURCES_WITH_A_RIGHT)}",
                )
            )
    if sources and not {"feedback", "admin"} & set(roles):
        faults.append(
            Fault(pointer="/sources", detail="a source is for a key that sends events; give it role feedback too")
        )
    if named is not None and "admin" in roles:
        faults.append(
            Fault(
                pointer="/families",
                detail="role admin is for the whole installation; leave the families out, or take other roles",
            )
        )
    if named == ():
        faults.append(Fault(pointer="/families", detail="names no family; leave it out for all of them"))
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        faults.append(Fault(pointer="/expires_at", detail="needs a time in the future, with its zone"))
    faults += [
        Fault(pointer=f"/limits/{name}", detail="needs a number above 0")
        for name, value in limits_set.items()
        if value <= 0
    ]
    if faults:
        raise InvalidInput(
            "The key cannot be made: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults) + ".", faults
        )
    return Access(
        roles=tuple(role for role in ROLES if role in roles),
        sources=tuple(sources),
        families=named,
        expires_at=expires_at,
        limits=KeyLimits(**limits_set),  # type: ignore[arg-type]
    )


def require(access: Access, needed: Role, *, actor: str) -> None:
    """Raises NotAuthorised naming what is missing."""
    if not access.reaches(needed):
        roles = " and ".join(access.roles) or "none"
        raise NotAuthorised(
            f"The key {actor!r} has role {roles}, and this needs role {needed} ({MEANINGS[needed]}). Use a key with"
            f" that role; `detent keys create NAME --role {needed}` makes one.",
            role=roles,
            needed=needed,
        )


def require_family(access: Access, family: str | None, *, actor: str) -> None:
    """Raises NotAuthorised for a family that is not one of the key's own, and for what belongs to no single one."""
    if not access.may_see(family):
        own = ", ".join(access.families or ())
        other = f"is about family {family!r}" if family is not None else "is not about one of them alone"
        raise NotAuthorised(
            f"The key {actor!r} is for {own} only, and this {other}. Name a family of the key's own, or use a key for"
            " all families.",
            families=list(access.families or ()),
        )


def hash_of(secret: str) -> str:
    """SHA-256 of the secret's bytes; such a secret has 256 random bits, so a slow hash would protect nothing more."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


@cache
def _roles_held(roles: tuple[Role, ...]) -> frozenset[Role]:
    """Looked up at every request, of the few combinations that there are."""
    if "admin" in roles:
        return frozenset(ROLES)
    return frozenset(role for ladder in LADDERS for i, role in enumerate(ladder) if {*ladder[i:]} & {*roles})


def _wrong_roles(roles: Sequence[str]) -> Iterable[str]:
    if not roles:
        yield f"needs at least one of {', '.join(ROLES)}"
    for role in roles:
        if role not in ROLES:
            yield f"{role!r} is none; roles are {', '.join(ROLES)}"
    if "admin" in roles and len(roles) > 1:
        yield "admin has all; leave the others out"
    for ladder in LADDERS:
        both = [role for role in ladder if role in roles]
        if len(both) > 1:
            less = " and ".join(both[:-1])
            yield f"{both[-1]} has all that {less} has; leave {less} out, and the key may do both"
