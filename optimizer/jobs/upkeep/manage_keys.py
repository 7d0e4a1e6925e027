"""Makes keys, ends them, and gives them new secrets. A secret leaves here once and is kept only as its hash."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from optimizer.core.base.answers import Page, members_of
from optimizer.core.base.errors import Conflict, Fault, InvalidInput, NotFound, Refused
from optimizer.core.base.phrasing import when
from optimizer.core.serving.access import Access, LimitsRecord, Role, access_of, hash_of
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import Change, tell
from optimizer.jobs.request import Moment, Name, Positive, Request, StrictModel
from optimizer.ports import CallerRecord, Clock, KeyRecord, Limited, Store, Transaction

MAX_NAME_CHARS = 100
MOST_GRACE = timedelta(days=90)
FIRST = "it is the first key: from now on every request needs one"
FIRST_LATER = "it is the first key: every request needs one from"
SEEN_WITHIN = timedelta(days=1)

OF_A_DAY: Sequence[Limited] = ("calls_per_day", "usd_per_day")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCaller:
    """A program that was refused, or came without a key, in the last day."""

    name: str
    n_requests: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key as people see it: never a hash. ``limits`` names those that it has."""

    name: str
    roles: Sequence[Role]
    sources: Sequence[str]
    families: Sequence[str] | None
    expires_at: str | None
    limits: LimitsRecord
    created_at: datetime
    revoked_at: datetime | None
    old_secret_until: datetime | None
    keyless_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWithUsage(KeyView):
    """``used_today``: of its limits of a day (UTC), with what calls under way may cost at most."""

    used_today: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport(Change):
    """What became of a key. ``secret`` is set where a new one was made, and never again."""

    name: str
    key: KeyView
    secret: str | None = None
    next: str | None = ""


class KeyLimitsBody(StrictModel):
    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    calls_per_day: Annotated[int, Field(gt=0, description="Model calls on the wire")] | None = None
    usd_per_day: Positive | None = None


KeyName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class KeyRequest(Request):
    """At most one role of each ladder (serve < feedback; read < read-texts < operate), or admin alone."""

    name: KeyName
    roles: Annotated[list[Role], Field(min_length=1, max_length=10)]
    sources: Annotated[
        list[Literal["person", "judge"]], Field(max_length=10, description="Sources that need a right of their own")
    ] = []  # noqa: RUF012
    families: Annotated[list[Name] | None, Field(max_length=1000, description="Default: all of them")] = None
    expires_at: Annotated[Moment | None, Field(description="Default: never")] = None
    limits: KeyLimitsBody | None = None
    close_keyless_from: Annotated[
        Moment | None,
        Field(
            description="Of the first key: from when requests without one are refused; a time that is over means now."
            " Needed where such requests came in the last day, else 409 with these `callers`"
        ),
    ] = None


class RotateRequest(Request):
    name: KeyName
    grace_s: Annotated[
        float, Field(ge=0, le=MOST_GRACE.total_seconds(), description="How long the old secret opens")
    ] = 24 * 3600.0
    undo: Annotated[bool, Field(description="Back to the old secret, while it opens")] = False


class RevokeRequest(Request):
    name: KeyName


def read_keys(context: Context, request: Request) -> Page[KeyWithUsage]:
    """All keys, the revoked ones too, with what they used of a day's limits; never their secrets."""
    with context.store.read() as tx:
        day = context.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        used = context.store.key_usage.used(tx, day)
        keys = context.store.api_keys.all(tx)
    return Page(
        items=[
            KeyWithUsage(
                **members_of(key_view(key)),
                used_today={
                    limit: used.get(key.name, {}).get(limit, 0.0)
                    for limit in OF_A_DAY
                    if getattr(key.access.limits, limit) is not None
                },
            )
            for key in keys
        ]
    )


def create_key(context: Context, request: KeyRequest) -> KeyReport:
    """Makes a key.

    Its secret is in this answer alone, and not in the one that an Idempotency-Key keeps. From the first key on, every
    request needs one.

    Raises:
        Refused: it is the first key, programs that send none were seen in the last day, and nothing says from when
            they are refused.
        InvalidInput: the name cannot stand in decisions, or a family is unknown.
        Conflict: the name was given before, also to a key that was revoked.
    """
    store, name, actor, close_keyless_from = context.store, request.name, context.actor, request.close_keyless_from
    access = access_of(
        request.roles,
        sources=request.sources,
        families=request.families,
        expires_at=request.expires_at,
        limits=request.limits.model_dump() if request.limits is not None else None,
        now=context.clock.now(),
    )
    _check(name, access, context.families().families.keys())
    secret, now = _new_secret(), context.clock.now()

    def change(tx: Transaction) -> KeyReport:
        earlier = store.api_keys.all(tx)
        if any(key.name == name for key in earlier):
            raise Conflict(
                f"There is a key named {name!r} already, valid or revoked. Choose another name: decisions carry it for"
                " ever."
            )
        closes = max(now, close_keyless_from) if close_keyless_from is not None else None
        if not earlier and closes is None and (keyless := keyless_callers(tx, store, now)):
            raise Refused(
                f"{name} would be the first key, and from then on every request needs one. In the last day programs of"
                f" this machine sent none: {named(keyless)}. They would get 401. Say from when: --close-keyless for"
                " now, or --close-keyless-from 24h to give each its key before (over REST close_keyless_from, a time).",
                callers=[caller._asdict() for caller in keyless],
            )
        store.api_keys.add(tx, name, access, hash_of(secret), now, None if earlier else closes)
        if closes is not None:
            store.api_keys.close_keyless(tx, closes)
        detail = shown_access(access) | ({"close_keyless_from": closes.isoformat()} if closes is not None else {})
        tell(tx, store, "key.create", None, name, detail, actor=actor, at=now)
        return KeyReport(
            name=name,
            what=f"Key {name} made with role {' and '.join(access.roles)}",
            why="" if earlier else FIRST if closes in (None, now) else f"{FIRST_LATER} {when(closes)}",
            undo=f"detent keys revoke {name}" + ("" if earlier else " --reopen"),
            changed=True,
            key=key_view(_require(tx, store, name)),
            next="send it as `Authorization: Bearer SECRET`; the command line sends DETENT_API_KEY",
        )

    report = store.write(change)
    with store.read() as tx:
        store.api_keys.all(tx)  # which marks the store as one that has keys
    return replace(report, secret=secret)  # it stands in no store, nor in an answer that is kept


def seen_callers(tx: Transaction, store: Store, now: datetime) -> Sequence[CallerRecord]:
    """Who came without a key, or was refused, in the last day; the last one first."""
    return store.api_keys.callers(tx, now - SEEN_WITHIN)


def keyless_callers(tx: Transaction, store: Store, now: datetime) -> list[CallerRecord]:
    return [caller for caller in seen_callers(tx, store, now) if caller.kind == "keyless"]


def named(callers: Sequence[CallerRecord] | Sequence[SeenCaller]) -> str:
    """The first five, with how often and when last."""
    shown = [f"{caller.name} ({caller.n_requests:,} requests, last {when(caller.last_at)})" for caller in callers[:5]]
    return ", ".join(shown) + (f", and {len(callers) - 5} more" if len(callers) > 5 else "")


def revoke_key(context: Context, request: RevokeRequest) -> KeyReport:
    """Ends a key at once, and for good. Safe to repeat.

    Raises NotFound for a name that no key has.
    """
    store, name, actor, now = context.store, request.name, context.actor, context.clock.now()

    def change(tx: Transaction) -> KeyReport:
        changed = _require(tx, store, name).revoked_at is None
        if changed:
            store.api_keys.revoke(tx, name, now)
            tell(tx, store, "key.revoke", None, name, {}, actor=actor, at=now)
        what = (
            f"Key {name} is revoked; it opens nothing any more"
            if changed
            else f"Key {name} was revoked before; nothing changed"
        )
        undo = "none: a revoked key stays revoked. Make another one: detent keys create NAME"
        key = key_view(_require(tx, store, name))
        return KeyReport(name=name, what=what, undo=undo, changed=changed, key=key)

    return store.write(change)


def remove_only_key(name: str, *, actor: str, store: Store, clock: Clock, is_reachable: bool) -> KeyReport:
    """Takes back that the first key was made: requests from this machine need none again.

    Args:
        is_reachable: whether others than this machine reach the server.
    Raises:
        NotFound: no key has this name.
        Conflict: there are other keys, or were: their owner relies on the server asking for one.
        Refused: other machines can reach the server.
    """
    now = clock.now()

    def change(tx: Transaction) -> KeyReport:
        key = _require(tx, store, name)
        if others := [key.name for key in store.api_keys.all(tx) if key.name != name]:
            raise Conflict(
                f"There are other keys ({', '.join(others[:5])}), valid or revoked, so requests go on needing one. To"
                f" end this key alone: detent keys revoke {name}"
            )
        if is_reachable:
            raise Refused(
                "Other machines can reach the server, and without a key all of them would be let in. Serve on 127.0.0.1"
                " first."
            )
        store.api_keys.remove(tx, name)
        tell(tx, store, "key.remove", None, name, shown_access(key.access), actor=actor, at=now)
        what = f"Key {name} is gone as if it had not been made; requests from this machine need no key again"
        return KeyReport(name=name, what=what, undo="detent keys create NAME", changed=True, key=key_view(key))

    report = store.write(change)
    store.api_keys.unmark()
    return report


def rotate_key(context: Context, request: RotateRequest) -> KeyReport:
    """A new secret; the one before it opens for `grace_s` more.

    With `undo` the one before it is the key's again, while it opens.

    Raises NotFound and Conflict: there is no such key, or it was revoked or has expired, or a secret that was promised
    to open until later would end now.
    """
    if request.undo:
        return _undo_rotation(context, request.name)
    grace, name, store, actor = timedelta(seconds=request.grace_s), request.name, context.store, context.actor
    secret, now = _new_secret(), context.clock.now()
    until = now + grace
    old = f"the old one opens until {when(until)}" if grace else "the old one opens nothing any more"
    undo = (
        f"detent keys rotate {name} --undo, until then"
        if grace
        else f"none: the old secret is gone. For another one: detent keys rotate {name}"
    )

    def change(tx: Transaction) -> KeyReport:
        key = _require_valid(tx, store, name, now)
        if grace and key.previous_until is not None and key.previous_until > now:
            raise Conflict(
                f"Key {name!r} has an older secret that opens until {when(key.previous_until)}, and only one older"
                f" secret can open. To go back to it first: detent keys rotate {name} --undo. To end both at once:"
                f" detent keys rotate {name} --grace 0"
            )
        store.api_keys.replace_secret(
            tx, name, hash_of(secret), key.secret_hash if grace else None, until if grace else None
        )
        tell(tx, store, "key.rotate", None, name, {"old_until": until.isoformat()}, actor=actor, at=now)
        return KeyReport(
            name=name,
            what=f"Key {name} has a new secret; {old}",
            undo=undo,
            changed=True,
            key=key_view(_require(tx, store, name)),
            next="give the new secret to what uses the key",
        )

    return replace(store.write(change), secret=secret)


def _undo_rotation(context: Context, name: str) -> KeyReport:
    """The secret before the last rotation is the key's again, and the newer one ends at once;
    possible while the old one opens.
    """
    store, actor, now = context.store, context.actor, context.clock.now()

    def change(tx: Transaction) -> KeyReport:
        key = _require_valid(tx, store, name, now)
        if key.previous_hash is None or key.previous_until is None or key.previous_until <= now:
            raise Conflict(
                f"Key {name!r} has no older secret that still opens, so no rotation can be undone. detent keys rotate"
                f" {name}"
            )
        store.api_keys.replace_secret(tx, name, key.previous_hash, None, None)
        tell(tx, store, "key.rotate_undo", None, name, {}, actor=actor, at=now)
        what = f"Key {name} has its older secret again; the newer one opens nothing any more"
        undo = f"detent keys rotate {name}"
        return KeyReport(name=name, what=what, undo=undo, changed=True, key=key_view(_require(tx, store, name)))

    return store.write(change)


def key_view(key: KeyRecord) -> KeyView:
    return KeyView(
        name=key.name,
        **shown_access(key.access),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
        old_secret_until=key.previous_until,
        keyless_until=key.keyless_until,
    )


def shown_access(access: Access) -> dict[str, Any]:
    return {
        "roles": list(access.roles),
        "sources": list(access.sources),
        "families": None if access.families is None else list(access.families),
        "expires_at": access.expires_at.isoformat() if access.expires_at is not None else None,
        "limits": access.limits.as_record(),
    }


def _new_secret() -> str:
    return f"dk_{secrets.token_urlsafe(32)}"


def _check(name: str, access: Access, families: Collection[str]) -> None:
    faults = []
    is_address = name.strip(".") and "/" not in name  # by which it is revoked
    if (
        not name.strip()
        or not is_address
        or name.startswith("local:")
        or not name.isprintable()
        or len(name) > MAX_NAME_CHARS
    ):
        detail = (
            f"needs 1 to {MAX_NAME_CHARS} printable characters, no /, and not dots alone; what begins with `local:`"
            " stands for people at this machine"
        )
        faults.append(Fault(pointer="/name", detail=detail))
    unknown = sorted(set(access.families or ()) - set(families))
    if unknown:
        known = ", ".join(sorted(families)) or "none"
        faults.append(
            Fault(
                pointer="/families",
                detail=f"there is no family {', '.join(map(repr, unknown))}; families here: {known}",
            )
        )
    if faults:
        raise InvalidInput(
            "The key cannot be made: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults) + ".", faults
        )


def _require(tx: Transaction, store: Store, name: str) -> KeyRecord:
    key = store.api_keys.get(tx, name)
    if key is None:
        raise NotFound(f"There is no key named {name!r}. See them with: detent keys list.")
    return key


def _require_valid(tx: Transaction, store: Store, name: str, now: datetime) -> KeyRecord:
    key = _require(tx, store, name)
    over = "was revoked" if key.revoked_at is not None else "has expired"
    if key.revoked_at is not None or (key.access.expires_at is not None and key.access.expires_at <= now):
        raise Conflict(
            f"Key {name!r} {over}, and a new secret would open nothing. Make another one: detent keys create NAME."
        )
    return key
