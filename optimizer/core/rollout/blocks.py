"""Blocks: the closed pieces of a Rollout's evidence. They never change, and form one hash chain per rollout.

quality      the matured units of one cohort, each with the mean of its outcomes
late         of one cohort, how many first labels came after its feedback window, per arm
guardrails   the requests of the same ten seconds (``counted_at``), one value per unit
baseline     what the champion usually does, fixed for the guardrails from here on

Blocks also say how much of the evidence each key brought, and which units of a key count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

from optimizer.core.base.canonical import digest
from optimizer.core.feedback.traffic import PastRequest
from optimizer.core.rollout.cohorts import Cohort
from optimizer.core.serving.rollout import iso
from optimizer.core.statistics.outcomes import Block as Comparison, Outcomes

BlockKind = Literal["quality", "late", "guardrails", "baseline"]
ArmName = Literal["candidate", "champion"]
ARMS: tuple[ArmName, ...] = ("candidate", "champion")

FIRST_PREVIOUS_HASH = "0" * 64
SECONDS = 10  # of a guardrail block
GRACE_SECONDS = 30  # a block closes this long after its last second
# A request whose report comes later counts this long before it, so that ten seconds are left to store the report.
IN_TIME = timedelta(seconds=20)
LATEST = timedelta(minutes=15)  # from a start to its report: three attempts of five minutes; what is older is a log
DECIMALS = 4  # of values between 0 and 1 in blocks
LAST = 10  # requests of the candidate that a block keeps in order, each with as many of the champion before it


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """``content`` is plain JSON. The hash covers its ``text`` with all digits of each float, so that one changed byte
    shows.
    """

    rollout: str
    seq: int
    kind: BlockKind
    content: Mapping[str, Any]
    text: str
    closed_at: datetime
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcome:
    """One unit of a cohort; ``mean`` of its outcomes within the feedback window is None where it has none."""

    unit_hmac: str
    arm: ArmName
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRequest(PastRequest):
    """One reported interaction of a rollout: what the guardrails read of it."""

    arm: ArmName
    stage: int
    counted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailLimits:
    """The limits that turn latency and cost into outcomes; None where the champion has no such figures."""

    latency_ms: float | None = None
    cost_cap_usd: float | None = None
    absolute_latency_ms: float | None = None


def block_hash(*, previous_hash: str, seq: int, kind: str, content: str, closed_at: datetime) -> str:
    """SHA-256 over previous hash, number, kind, time (RFC 3339) and content, with a line feed between them."""
    return digest("\n".join((previous_hash, str(seq), kind, iso(closed_at), content)).encode())


def chain_blocks(
    rollout: str,
    contents: Iterable[tuple[BlockKind, Mapping[str, Any]]],
    *,
    n_before: int,
    head: str,
    closed_at: datetime,
) -> list[StoredBlock]:
    """The contents as links of the chain after block ``n_before``, whose hash is ``head``."""
    blocks = []
    for seq, (kind, content) in enumerate(contents, start=n_before + 1):
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        link = block_hash(previous_hash=head, seq=seq, kind=kind, content=text, closed_at=closed_at)
        blocks.append(
            StoredBlock(
                rollout=rollout,
                seq=seq,
                kind=kind,
                content=content,
                text=text,
                closed_at=closed_at,
                previous_hash=head,
                hash=link,
            )
        )
        head = link
    return blocks


def quality_content(
    cohort: Cohort,
    units: Sequence[UnitOutcome],
    *,
    n_left_out: int,
    by_key: Mapping[str, float] | None = None,
    recomputed: Mapping[tuple[ArmName, str], int] | None = None,
    beyond: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A cohort's units and outcomes.

    Args:
        units: the matured units of both arms.
        n_left_out: units to which a lapse gave both variants.
        by_key: key -> labelled units that it brought.
        recomputed: arm and key -> units that count without a token (``within_exposures``).
        beyond: unit -> key, of units that do not count; the block keeps their number per key.
    """
    optional: dict[str, Any] = {}
    if by_key:
        optional["by_key"] = dict(by_key)
    if recomputed:
        optional["recomputed"] = {
            arm: {key: n for (of, key), n in sorted(recomputed.items()) if of == arm} for arm in ARMS
        }
    if beyond:
        optional["beyond_exposures"] = dict(sorted(Counter(beyond.values()).items()))
    outcomes = {arm: _values(u.mean for u in units if u.arm == arm and u.mean is not None) for arm in ARMS}
    return {
        "stage": cohort.stage,
        "cohort": iso(cohort.start),
        "closes": iso(cohort.closes_at),
        "units": {arm: sum(u.arm == arm for u in units) for arm in ARMS},
        "left_out": n_left_out,
        "outcomes": outcomes,
        **optional,
    }


def late_content(cohort: Cohort, hours_late: Sequence[tuple[ArmName, float]], *, until: datetime) -> dict[str, Any]:
    """A cohort's late labels.

    Args:
        hours_late: of every labelled unit its arm, and how long after the cohort's window its first label came; 0 if it
            came within the window.
        until: when they were counted.
    """
    own = {arm: [hours for of, hours in hours_late if of == arm] for arm in ARMS}
    return {
        "stage": cohort.stage,
        "cohort": iso(cohort.start),
        "until": iso(until),
        "late": {arm: _values(float(hours > 0) for hours in own[arm]) for arm in ARMS},
        "hours": {arm: round(sum(own[arm]), DECIMALS) for arm in ARMS},
    }


def guardrail_content(
    *,
    begun: datetime,
    stage: int,
    requests: Sequence[ReportedRequest],
    counted: set[str],
    fetches: Mapping[ArmName, int],
    limits: GuardrailLimits,
    numbers: Mapping[str, str],
) -> dict[str, Any]:
    """Ten seconds of one stage, from ``begun`` on.

    Args:
        requests: all that count in these seconds.
        counted: the units that may give a value here (``may_count``).
        fetches: how often each arm's prompt was fetched.
        numbers: unit -> its number, of the candidate's last requests before these (``StoredEvidence.numbers``).
    """
    per_unit: dict[ArmName, dict[str, list[ReportedRequest]]] = {arm: {} for arm in ARMS}
    for request in requests:
        if request.unit_hmac in counted:
            per_unit[request.arm].setdefault(request.unit_hmac, []).append(request)
    content: dict[str, Any] = {
        "stage": stage,
        "from": iso(begun),
        "fetches": {arm: fetches.get(arm, 0) for arm in ARMS},
        "reports": {arm: sum(r.arm == arm for r in requests) for arm in ARMS},
        "errors": {
            arm: _values(_mean([float(r.failed) for r in own]) for own in per_unit[arm].values()) for arm in ARMS
        },
        "last": _last(requests, numbers),
        "candidate": _candidate_sums([r for r in requests if r.arm == "candidate"], limits),
    }
    if limits.latency_ms is not None:
        content["latency"] = {
            arm: _values(_means(per_unit[arm].values(), lambda r: _too_slow(r, limits.latency_ms))) for arm in ARMS
        }
    if limits.cost_cap_usd is not None:
        content["cost"] = {
            arm: _values(
                _means(
                    per_unit[arm].values(),
                    lambda r: (
                        None
                        if r.cost_usd is None or not limits.cost_cap_usd
                        else min(r.cost_usd / limits.cost_cap_usd, 1.0)
                    ),
                )
            )
            for arm in ARMS
        }
    return content


def comparison_of(content: Mapping[str, Any], metric: str) -> Comparison | None:
    """One metric of a block as the statistics take it; None where the block does not have it."""
    values = content.get(metric)
    if values is None or not any(values.values()):
        return None
    arms = {arm: Outcomes(counts=tuple([(float(y), int(k)) for y, k in values[arm]])) for arm in ARMS}
    return Comparison(stage=int(content["stage"]), candidate=arms["candidate"], champion=arms["champion"])


def may_count(*, n_values: int, last_minute: int | None, minute: int) -> bool:
    """Whether a unit that gave ``n_values`` to the guardrails in this stage may give one more.

    It has to wait 1, 2, 4, 8 … minutes. Thus one unit that always fails is soon a small part of the whole, and a family
    with few units still counts on.
    """
    return True if last_minute is None or n_values == 0 else minute - last_minute >= 1 << (n_values - 1)


def counted_at(occurred_at: datetime, received_at: datetime) -> datetime | None:
    """When a request counts for the guardrails: at its start, or later where its report came late; None: never.

    It rests on the request alone, so each counts in one block, however late that block is read.
    """
    return None if received_at - occurred_at > LATEST else max(occurred_at, received_at - IN_TIME)


def window_start(at: datetime) -> datetime:
    """The start of the ten seconds that hold ``at``."""
    return datetime.fromtimestamp(int(at.timestamp()) // SECONDS * SECONDS, at.tzinfo)


def _values(values: Iterable[float]) -> list[list[float | int]]:
    """[[value, units], …], in order of value."""
    return [[y, k] for y, k in Outcomes.of(round(value, DECIMALS) for value in values).counts]


def _means(units: Iterable[Sequence[ReportedRequest]], value: Any) -> list[float]:
    values_of_units = ([v for r in own if (v := value(r)) is not None] for own in units)
    return [_mean(values) for values in values_of_units if values]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _too_slow(request: ReportedRequest, limit_ms: float | None) -> float | None:
    if request.timed_out:
        return 1.0
    return None if request.latency_ms is None or limit_ms is None else float(request.latency_ms > limit_ms)


def last_units(before: Sequence[str], requests: Sequence[ReportedRequest]) -> tuple[str, ...]:
    """The units of the candidate's last requests, those in ``requests`` included, in the order in which they ended."""
    return (*before, *(r.unit_hmac for r in _ended(requests) if r.arm == "candidate"))[-LAST:]


def _ended(requests: Sequence[ReportedRequest]) -> list[ReportedRequest]:
    return sorted(requests, key=lambda r: (r.at.timestamp() + (r.latency_ms or 0.0) / 1000, r.unit_hmac))


def _last(requests: Sequence[ReportedRequest], numbers: Mapping[str, str]) -> dict[str, Any]:
    """What the guardrail against failures in a row reads, in the order in which requests ended.

    ``candidate``: [number, failed, before] of each of its last requests, where ``before`` holds a 1 for each request of
    the champion since then that failed and a 0 for each other. ``champion``: the same of its requests after all of
    them. The number tells units apart among the candidate's last requests, and is used again later: it says nothing of
    the unit.
    """
    candidate: list[tuple[str, bool, str]] = []
    since = ""
    for r in _ended(requests):
        if r.arm == "candidate":
            candidate.append((r.unit_hmac, r.failed, since))
            since = ""
        else:
            since = (since + ("1" if r.failed else "0"))[-LAST:]
    number_of, numbers_in_use = dict(numbers), set(numbers.values())
    free = (str(n) for n in count() if str(n) not in numbers_in_use)
    for unit, _, _ in candidate[-LAST:]:
        if unit not in number_of:
            number_of[unit] = next(free)
    return {
        "candidate": [[number_of[unit], failed, before] for unit, failed, before in candidate[-LAST:]],
        "champion": since,
    }


def _candidate_sums(requests: Sequence[ReportedRequest], limits: GuardrailLimits) -> dict[str, Any]:
    """What the absolute limits are checked with."""
    slow = [_too_slow(r, limits.absolute_latency_ms) for r in requests]
    costs = [r.cost_usd for r in requests if r.cost_usd is not None]
    return {
        "n_latency": sum(s is not None for s in slow),
        "n_slow": int(sum(s for s in slow if s is not None)),
        "n_cost": len(costs),
        "cost_usd": sum(costs),
        "cost_squares": sum(cost * cost for cost in costs),
    }


SHARE_DECIMALS = 4  # of a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """What one key brought. ``key`` is "" for outcomes that were stored before keys were recorded with them."""

    key: str
    labelled: float  # units
    share: float  # of all labelled units, in [0, 1]


def labelled_by_key(units: Iterable[Sequence[str]]) -> dict[str, float]:
    """Key -> labelled units that it brought.

    Args:
        units: per unit, the key of each of its outcomes. A key that sent nine of ten outcomes has nine tenths of the
            unit.
    """
    n_by_key: dict[str, float] = {}
    for keys in units:
        for key, n in Counter(keys).items():
            n_by_key[key] = n_by_key.get(key, 0.0) + n / len(keys)
    return {key: round(n, SHARE_DECIMALS) for key, n in sorted(n_by_key.items())}


def key_shares(by_key: Mapping[str, float]) -> tuple[KeyShare, ...]:
    """Each key's share of the labelled units, the largest first."""
    total = sum(by_key.values())
    by_labels = sorted(by_key.items(), key=lambda item: (-item[1], item[0]))
    return tuple(KeyShare(key=key, labelled=n, share=n / total) for key, n in by_labels if total)


def excess_of_one_key(by_key: Mapping[str, float], most: float) -> str | None:
    """The sentence that withholds the next step where one key brought more than ``most`` of the evidence; else None."""
    largest = next(iter(key_shares(by_key)), None)
    if most >= 1 or largest is None or largest.share <= most + 1e-9:
        return None
    name = f"key {largest.key!r}" if largest.key else "keys that are not on record"
    return (
        f"{name} brought {100 * largest.share:.0f} % of the labelled units, and max_share_per_key is {100 * most:g} %"
    )


ArmAndKey = tuple[ArmName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedCounts:
    """``counted``: how many units of each arm count by each key. ``beyond``: unit -> key, of the units that do not."""

    counted: Mapping[ArmAndKey, int] = field(default_factory=dict)
    beyond: Mapping[str, str] = field(default_factory=dict)


def within_exposures(
    units: Mapping[str, tuple[ArmName, Sequence[str]]],
    *,
    reported: Mapping[ArmAndKey, int],
    counted: Mapping[ArmAndKey, int],
) -> BoundedCounts:
    """Which of one stage's units that came without a token count: no more per arm and key than the key reported
    exposures.

    Args:
        units: unit's HMAC -> its arm, and the keys that sent it. They are taken in the order of the HMACs, which know
            nothing of outcomes.
        reported: exposures that were reported in the stage.
        counted: units of the stage that count already.
    """
    now = dict(counted)
    beyond: dict[str, str] = {}
    for unit, (arm, keys) in sorted(units.items()):
        with_room = next((key for key in sorted(keys) if now.get((arm, key), 0) < reported.get((arm, key), 0)), None)
        if with_room is None:
            beyond[unit] = min(keys)
        else:
            now[arm, with_room] = now.get((arm, with_room), 0) + 1
    return BoundedCounts(
        counted={which: n - counted.get(which, 0) for which, n in now.items() if n > counted.get(which, 0)},
        beyond=beyond,
    )
