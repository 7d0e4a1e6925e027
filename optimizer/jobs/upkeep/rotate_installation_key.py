"""Gives the installation a new key: to sign tokens by, or to store units under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import Refused
from optimizer.core.base.phrasing import count, when
from optimizer.core.serving.assignment import TOKEN_VALID_DAYS, holdback_of
from optimizer.jobs.context import Context
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.record_change import tell
from optimizer.jobs.request import Request
from optimizer.ports import InstallationKey, KeyKind, Transaction

ACTION = "installation_key.rotate"
NO_UNDO = "none: what the new key has signed or stored needs it. Rotate again for another one"
NEXT = {
    "token": "none is needed: processes take it over within a second",
    "unit": "tell people who use the pages to sign in again",
}


class RotateInstallationKeyRequest(Request):
    kind: KeyKind
    dry_run: Annotated[bool, Field(description="Say what would happen, and change nothing")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationKeyReport:
    """Args: key: the new key's name, which says nothing of its secret; of a dry run the one in use. ``first``: of a
    dry run, what stands in the way, as sentences.
    """

    kind: KeyKind
    key: str
    what: str
    undo: str
    changed: bool
    first: Sequence[str] = ()
    next: str = ""


def rotate_installation_key(context: Context, request: RotateInstallationKeyRequest) -> InstallationKeyReport:
    """A new key that signs tokens, or under which units are stored. There is no undo.

    Tokens that were served before stay valid for their 30 days. Units that were stored before stay under the older
    key, which is kept: forgetting a person finds both, and outcomes of what was served before still count. A person who
    comes again counts as another one. A unit key is rotated while no rollout and no holdback runs.

    Raises:
        Refused: DETENT_TOKEN_KEYS holds the keys, or a rollout or holdback runs.
    """
    store, keys, kind = context.store, context.installation_keys, request.kind

    def change(tx: Transaction) -> InstallationKeyReport:
        newest, at = keys.newest(kind), context.clock.now()
        first = _in_the_way(tx, context, kind, newest)
        if request.dry_run:
            return InstallationKeyReport(
                kind=kind,
                key=newest.name,
                what="would not be rotated" if first else f"would be rotated: {_consequence(tx, context, kind)}",
                undo=NO_UNDO,
                changed=False,
                first=first,
            )
        if first:
            raise Refused(f"The {kind} key is not rotated; nothing was changed. {' '.join(first)}")
        # An earlier run wrote the key but died before its audit row: write that, make no second key.
        earlier_at = None if store.audit.of_subject(tx, newest.name) else newest.rotated_at
        name = newest.name if earlier_at else keys.rotate(kind, at)
        detail = {"kind": kind, "older": newest.n_older + (not earlier_at)}
        tell(tx, store, ACTION, None, name, detail, actor=context.actor, at=at)
        then, what = NEXT[kind], f"the {kind} key is {name} since {when(earlier_at or at)}"
        if earlier_at:
            what += "; that rotation, whose record was missing, is on record now, and nothing new was made"
            then += f". For a new key rotate again: detent keys rotate --{kind}"
        what += f": {_consequence(tx, context, kind)}"
        return InstallationKeyReport(kind=kind, key=name, what=what, undo=NO_UNDO, changed=not earlier_at, next=then)

    if request.dry_run:
        with store.read() as tx:
            return change(tx)
    return store.write(change)


def _consequence(tx: Transaction, context: Context, kind: KeyKind) -> str:
    if kind == "token":
        return f"tokens that were served before stay valid for their {TOKEN_VALID_DAYS} days"
    overrides = len(context.store.overrides.active(tx, context.clock.now()))
    ended = f" {count(overrides, 'override')} of units for testing and" if overrides else ""
    return (
        "units are stored under the new key; those from before are found by the older one, which is kept, and count as"
        f" other people. Ends{ended} every session of the pages"
    )


def _in_the_way(tx: Transaction, context: Context, kind: KeyKind, newest: InstallationKey) -> list[str]:
    store = context.store
    if kind == "token":
        if not newest.is_in_environment:
            return []
        return [
            "DETENT_TOKEN_KEYS holds the keys of tokens. Put a new one in front of it there, leave the others behind it"
            f" for {TOKEN_VALID_DAYS} days, and restart."
        ]
    running = [
        f"Rollout {rollout.id} of {rollout.family} is {rollout.status}, and counts its users under this key. Wait for"
        f" its end, or end it: detent rollout rollback {rollout.family}."
        for rollout in store.rollouts.all_active(tx)
    ]
    now, latest = context.clock.now(), store.rollouts.all_latest(tx)
    for tenure in store.champions.all_current(tx):
        freezes = freezes_of(tx, store, tenure.family, now)
        holdback = holdback_of(tenure, latest.get(tenure.family), context.clock.scale, freezes)
        if holdback is not None and holdback.until > now:
            until = when(holdback.until)
            running.append(f"The holdback of {tenure.family} counts its users under this key until {until}.")
    return running
