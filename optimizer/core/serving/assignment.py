"""Which Variant a unit is served, and the signed token that says so: pure, so that every replica and client agrees.

The bucket is the contract's formula, over the unit as the client sent it. Only the unit's HMAC is stored or signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import when
from optimizer.core.serving.rollout import Champion, Freeze, Gap, Rollout

ServedRole = Literal["champion", "candidate", "holdback"]
TokenKeys = Sequence[tuple[str, bytes]]  # (id, secret); the first signs, all verify
ArmKey = tuple[str, ServedRole, str | None, float | None]  # variant, role, rollout, stage

ROLES: tuple[ServedRole, ...] = ("champion", "candidate", "holdback")
N_BUCKETS = 2**32
TOKEN_VALID_DAYS = 30
TOKEN_VALID = timedelta(days=TOKEN_VALID_DAYS)
DEFAULT_COHORT_MINUTES = 60
UNITS_KEPT = 2**15  # hashes of units that came lately; one takes a third of a kilobyte
HOLDBACK_SHARE = 0.05
HOLDBACK_PERIOD = timedelta(days=7)  # of the rollout clock
OVERRIDE_SALT = "salt of the overrides in snapshots"  # its HMAC is the salt
HELD_BACK_FROM = math.floor((1 - HOLDBACK_SHARE) * N_BUCKETS)


class Override(NamedTuple):
    """A Variant that one unit of one family gets, for testing.

    ``unit_hash`` names the unit to clients that decide in process, who have no key for its HMAC; None for one that an
    older version stored, which only the server follows.
    """

    variant: str
    until: datetime
    unit_hash: str | None = None


UnitOverrides = Mapping[str, Override]  # of one family, by the unit's HMAC


class Choice(NamedTuple):
    """What one unit is served now.

    ``rollout`` and ``stage`` (a share) are None unless the unit is in one of its arms.
    """

    variant: str
    role: ServedRole
    rollout: str | None = None
    stage: float | None = None
    counted: bool = True  # False for an override: a test, counted in no arm
    unwatched: bool = False  # True when a rollout is deploying but its lease has run out: every user gets the champion

    @property
    def arm(self) -> ArmKey:
        """All that the answer and the token of a unit depend on, but the unit."""
        return self.variant, self.role, self.rollout, self.stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdback:
    """The units that stay on the champion before a promotion, so that the promotion's effect can still be seen."""

    rollout: str  # the promoted one
    variant: str  # the champion before it
    salt: str
    until: datetime  # real time
    cohort_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One Choice as a token carries it.

    ``issued_at`` is real time, ``cohort_start`` the rollout clock's; both in whole seconds.
    """

    family: str
    variant: str
    role: ServedRole
    issued_at: datetime
    rollout: str | None = None
    stage: float | None = None
    cohort_start: datetime | None = None
    unit_hmac: str | None = None


@lru_cache(maxsize=UNITS_KEPT)
def bucket(salt: str, unit: str) -> int:
    """First 4 bytes, big-endian, of SHA-256(UTF-8 of the salt + 0x00 + UTF-8 of the unit as sent): in [0, 2**32)."""
    return int.from_bytes(hashlib.sha256(salt.encode() + b"\x00" + _utf8(unit)).digest()[:4], "big")


def in_candidate(bucket: int, share: float) -> bool:
    """True for the units below floor(share x 2**32), so that a larger share never moves a unit back to the champion."""
    return bucket < math.floor(share * N_BUCKETS)


def in_holdback(bucket: int) -> bool:
    """True for the units that stay on the champion before a promotion.

    They are the last 5 % of the buckets, which no stage below 95 % gave the candidate.
    """
    return bucket >= HELD_BACK_FROM


def holdback_of(
    champion: Champion, latest: Rollout | None, clock_scale: float, freezes: Iterable[Gap]
) -> Holdback | None:
    """The holdback that a promotion brings for a week of the rollout clock; a new rollout or another champion ends it.

    ``latest`` is the family's last rollout: once another one has been started, the promoted one no longer is.
    """
    if latest is None or latest.id != champion.rollout:
        return None
    until = held_back_until(latest, clock_scale, freezes)
    if until is None:
        return None
    minutes = cohort_minutes(latest.settings)
    return Holdback(rollout=latest.id, variant=latest.champion, salt=latest.salt, until=until, cohort_minutes=minutes)


def held_back_until(rollout: Rollout, clock_scale: float, freezes: Iterable[Gap]) -> datetime | None:
    """Real time at which the week after this rollout's promotion is over; None when it was not promoted.

    ``freezes`` of its family, which may overlap: nobody is held back in them, so the week does not count them.
    """
    if rollout.outcome != "promoted" or rollout.ended_at is None:
        return None
    counted, until = rollout.ended_at, rollout.ended_at + HOLDBACK_PERIOD / clock_scale
    for freeze in sorted(freezes, key=lambda freeze: freeze.since):
        if freeze.since < until and freeze.until > counted:
            until += freeze.until - max(freeze.since, counted)
            counted = freeze.until
    return until


def unit_hmac(key: bytes, unit: str) -> str:
    """HMAC-SHA-256 as 64 hex digits: the only form in which a unit is ever stored or signed."""
    return _digest(key, _utf8(unit)).hex()


def unit_hash(salt: str, unit: str) -> str:
    """SHA-256 of what ``bucket`` hashes, whole, as 64 hex digits."""
    return hashlib.sha256(salt.encode() + b"\x00" + _utf8(unit)).hexdigest()


def cohort_minutes(settings: Mapping[str, Any]) -> float:
    """The length of a rollout's cohorts, by its fixed settings."""
    return float(settings.get("cohort_minutes") or DEFAULT_COHORT_MINUTES)


def cohort_length(cohort_minutes: float) -> timedelta:
    """In whole seconds, as tokens carry the starts of cohorts."""
    return timedelta(seconds=max(1, round(cohort_minutes * 60)))


def cohort_start(at: datetime, cohort_minutes: float) -> datetime:
    """``at`` floored to a multiple of ``cohort_minutes`` since 1970-01-01 UTC, which all units of one cohort share."""
    seconds = int(cohort_length(cohort_minutes).total_seconds())
    return datetime.fromtimestamp(math.floor(at.timestamp()) // seconds * seconds, UTC)


def overrides_by_family(rows: Iterable[tuple[str, str, Override]]) -> dict[str, dict[str, Override]]:
    """The store's (family, unit's HMAC, override) as ``choose`` wants them."""
    by_family: dict[str, dict[str, Override]] = {}
    for family, unit, override in rows:
        by_family.setdefault(family, {})[unit] = override
    return by_family


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a family serves at the moment."""

    name: str
    champion: Champion
    rollout: Rollout | None
    overrides: UnitOverrides
    holdback: Holdback | None = None  # since the last promotion; it ends by its own time
    freeze: Freeze | None = None

    def override_choice(self, variant: str) -> Choice:
        """The choice of a unit that gets this variant for testing."""
        is_champion = variant == self.champion.variant
        return Choice(variant=variant, role="champion" if is_champion else "candidate", counted=False)


def choose(family: Serving, unit: str | None, unit_hmac: str | None, now: datetime) -> Choice:
    """What a unit is served.

    The champion while the family is frozen; else its override; else the candidate if the rollout's lease is valid and
    the unit is in the share; else, for a while after a promotion, the champion before it if the unit is held back; else
    the champion.

    A request without a unit gets the champion outside any arm, since nothing keeps its variant the same. A rollout of
    another family, or one that is not deploying, is ignored. ``now`` is real time, as leases, overrides and the end of
    a holdback are.
    """
    champion, rollout = family.champion.variant, family.rollout
    if family.freeze is not None:
        return Choice(variant=champion, role="champion")
    is_own = rollout is not None and rollout.family == family.name
    deploying = rollout if rollout is not None and is_own and rollout.status == "deploying" else None
    override = family.overrides.get(unit_hmac) if unit_hmac is not None else None
    if override is not None and override[1] > now:
        return family.override_choice(override[0])
    share = deploying.share if deploying is not None else None
    if deploying is None or share is None:
        if family.holdback is None or unit is None or now >= family.holdback.until:
            return Choice(variant=champion, role="champion")
        if in_holdback(bucket(family.holdback.salt, unit)):
            return Choice(variant=family.holdback.variant, role="holdback", rollout=family.holdback.rollout)
        return Choice(variant=champion, role="champion", rollout=family.holdback.rollout)
    if not has_lease(deploying, now):
        return Choice(variant=champion, role="champion", unwatched=True)
    if unit is None:
        return Choice(variant=champion, role="champion")
    candidate = in_candidate(bucket(deploying.salt, unit), share)
    return Choice(
        variant=deploying.candidate if candidate else champion,
        role="candidate" if candidate else "champion",
        rollout=deploying.id,
        stage=share,
    )


def has_lease(rollout: Rollout, now: datetime) -> bool:
    """True while a worker watches this rollout: its candidate may be served before ``lease_expires_at``,
    and not at it.
    """
    return rollout.lease_expires_at is not None and rollout.lease_expires_at > now


def is_served(rollout: Rollout | None, now: datetime) -> bool:
    """Whether the candidate is served where nothing is frozen: it has a stage, and a lease that has not run out."""
    return rollout is not None and rollout.share is not None and has_lease(rollout, now)


def variant_at(rollout: Rollout, unit: str, at: datetime, held_back_until: datetime | None = None) -> str | None:
    """Which Variant the stage history, or the holdback after it, gave ``unit`` at the real time ``at``.

    None when neither was served. It is for events that carry rollout, variant, unit and time instead of a token.
    """
    for stage in rollout.stage_history:
        if datetime.fromisoformat(stage["from"]) <= at and (
            stage["to"] is None or at < datetime.fromisoformat(stage["to"])
        ):
            return rollout.candidate if in_candidate(bucket(rollout.salt, unit), stage["share"]) else rollout.champion
    if held_back_until is not None and rollout.ended_at is not None and rollout.ended_at <= at < held_back_until:
        return rollout.champion if in_holdback(bucket(rollout.salt, unit)) else rollout.candidate
    return None


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What the tokens of one arm and second share, written once; each unit's own costs one HMAC."""

    start: bytes  # base64 of what does not depend on the unit
    before: bytes
    after: bytes
    secret: bytes

    @classmethod
    def of(cls, assignment: Assignment, keys: TokenKeys) -> TokenForm:
        """The unit that ``assignment`` names has no say."""
        key_id, secret = keys[0]
        sorted_before = {
            "cohort_start": _seconds(assignment.cohort_start),
            "family": assignment.family,
            "issued_at": _seconds(assignment.issued_at),
            "k": key_id,
            "role": assignment.role,
            "rollout": assignment.rollout,
            "stage": assignment.stage,
        }
        before = canonical_json(sorted_before)[:-1] + b',"unit_hmac":'
        whole = len(before) // 3 * 3
        after = b"," + canonical_json({"variant": assignment.variant})[1:]
        return cls(_b64(before[:whole]), before[whole:], after, secret)

    def signed(self, unit_hmac: str | None) -> str:
        is_hex = unit_hmac is not None and unit_hmac.isascii() and unit_hmac.isalnum()
        unit = b'"%b"' % unit_hmac.encode() if unit_hmac is not None and is_hex else canonical_json(unit_hmac)
        body = self.start + _b64(self.before + unit + self.after)
        return (body + b"." + _signature(body, self.secret)).decode()


def verify_token(token: str, keys: TokenKeys, now: datetime) -> Assignment:
    """The Assignment that a token carries.

    Raises:
        InvalidInput: with member ``type``: malformed_token, unknown_key, forged_token or expired_token (30 days).
    """
    parts = token.split(".") if isinstance(token, str) and token.isascii() else []
    if len(parts) != 2 or not all(parts):
        raise _malformed("two base64url parts joined by a dot are expected")
    body, signature = parts
    try:
        payload = json.loads(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _malformed("its first part is no base64url of JSON") from None
    if not isinstance(payload, dict) or not isinstance(payload.get("k"), str):
        raise _malformed("its payload names no key (member k)")
    secret = dict(reversed(keys)).get(payload["k"])
    if secret is None:
        raise InvalidInput(
            f"The assignment token is signed with key {payload['k']!r}, which this installation does not know. "
            "Send a token of this installation, or put the old key at the end of DETENT_TOKEN_KEYS.",
            type="unknown_key",
        )
    if not hmac.compare_digest(signature.encode(), _signature(body.encode(), secret)):
        raise InvalidInput(
            "The signature of the assignment token does not fit its content. Send the token as it was served.",
            type="forged_token",
        )
    return check_age(_assignment(payload), now)


def check_age(assignment: Assignment, now: datetime) -> Assignment:
    """The Assignment of a token that was sound; raises InvalidInput (expired_token) after 30 days."""
    if now - assignment.issued_at > TOKEN_VALID:
        raise InvalidInput(
            f"The assignment token was issued at {when(assignment.issued_at)} and was valid for {TOKEN_VALID_DAYS}"
            " days. Fetch the prompt again and send the new token.",
            type="expired_token",
        )
    return assignment


class VerifiedTokens:
    """Tokens that were sound before: each is verified once, however many events bring it, but for its age."""

    def __init__(self, keys: TokenKeys, *, most: int = 10_000) -> None:
        self._keys, self._most = keys, most
        self._known: dict[str, Assignment] = {}

    def assignment(self, token: str, now: datetime) -> Assignment:
        """As ``verify_token``, with the same errors."""
        known = self._known.get(token) if type(token) is str else None
        if known is not None:
            return check_age(known, now)
        assignment = verify_token(token, self._keys, now)
        if len(self._known) >= self._most:
            self._known.clear()  # the next events fill it again, so no order has to be kept
        self._known[token] = assignment
        return assignment

    def clear(self) -> None:
        """They come back with the next events."""
        self._known.clear()


def _assignment(payload: Mapping[str, Any]) -> Assignment:
    try:
        issued_at = _time(payload["issued_at"])
        if issued_at is None or payload["role"] not in ROLES:
            raise ValueError
        return Assignment(
            family=payload["family"],
            variant=payload["variant"],
            role=payload["role"],
            issued_at=issued_at,
            rollout=payload["rollout"],
            stage=payload["stage"],
            cohort_start=_time(payload["cohort_start"]),
            unit_hmac=payload["unit_hmac"],
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _malformed("its payload is signed but lacks what an assignment needs") from None


def _signature(body: bytes, secret: bytes) -> bytes:
    return _b64(_digest(secret, body))


def _digest(key: bytes, content: bytes) -> bytes:
    digest = _keyed(key).copy()
    digest.update(content)
    return digest.digest()


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    """An HMAC that has taken in its key, which takes longer than a short content."""
    return hmac.new(key, digestmod="sha256")


def _utf8(unit: str) -> bytes:
    # JSON can carry half a surrogate pair; it is a strange unit, not a crash
    return unit.encode("utf-8", "surrogatepass")


def _b64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=")


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else math.floor(at.timestamp())


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _malformed(why: str) -> InvalidInput:
    detail = f"This is no assignment token: {why}. Send the value of `assignment` unchanged."
    return InvalidInput(detail, type="malformed_token")
