"""What the server's snapshot says, read once. What is no snapshot is refused whole: the one before it holds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detent_client.choice import Choice, FamilyEntry, Overrides, Split, Variant, first_bucket_of, salt_bytes
from detent_client.server_time import ServerTime, seconds_of
from detent_client.template import Template

Families = Mapping[str, FamilyEntry]
Leases = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The last good one. ``fetched_at``: monotonic; ``time``: None where the answer had no Date."""

    families: Families
    etag: str | None
    fetched_at: float
    time: ServerTime | None
    leases: Leases


def server_now(snapshot: Snapshot | None) -> float:
    """Seconds since 1970 by the server's clock, where it is known; else by this machine's."""
    return snapshot.time.latest(time.monotonic()) if snapshot is not None and snapshot.time is not None else time.time()


def read_families(body: str | bytes, *, champions_only: bool = False) -> Families:
    """Raises ValueError for what is no snapshot. ``champions_only``: of a file, in which no lease can hold."""
    try:
        return families_of(json.loads(body), champions_only=champions_only)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def families_of(said: Any, *, champions_only: bool = False) -> Families:
    """As ``read_families``, of what was read already."""
    try:
        entries = {name: _entry_of(entry, champions_only) for name, entry in said["families"].items()}
        return {entry.name: entry for entry in entries.values()} | entries  # a renamed one comes by its former name
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is no snapshot of a Detent server ({type(error).__name__})") from None


def _entry_of(said: Mapping[str, Any], champions_only: bool) -> FamilyEntry:
    champion = _variant_of(said["champion"])
    rollout, holdback, overrides = said.get("rollout"), said.get("holdback"), said.get("overrides")
    return FamilyEntry(
        name=champion.family,
        champion=Choice(variant=champion, role="champion"),
        rollout=_rollout_of(rollout, champion) if rollout is not None and not champions_only else None,
        holdback=_holdback_of(holdback, champion) if holdback is not None and not champions_only else None,
        overrides=_overrides_of(overrides) if overrides is not None and not champions_only else None,
        store=(said.get("privacy") or {}).get("store", "full"),
    )


def _rollout_of(said: Mapping[str, Any], champion: Variant) -> Split:
    id, share = _text(said["id"]), float(said["share"])
    return Split(
        rollout=id,
        salt=salt_bytes(said["salt"]),
        first_bucket=first_bucket_of(share),
        below=Choice(variant=_variant_of(said["candidate"]), role="candidate", rollout=id, stage=share),
        from_there=Choice(variant=champion, role="champion", rollout=id, stage=share),
        until=seconds_of(said["lease_expires_at"]),
    )


def _holdback_of(said: Mapping[str, Any], champion: Variant) -> Split:
    rollout = _text(said["rollout"])
    return Split(
        rollout=rollout,
        salt=salt_bytes(said["salt"]),
        first_bucket=first_bucket_of(1 - float(said["share"])),
        below=Choice(variant=champion, role="champion", rollout=rollout),
        from_there=Choice(variant=_variant_of(said["prompt"]), role="holdback", rollout=rollout),
        until=seconds_of(said["until"]),
    )


def _overrides_of(said: Mapping[str, Any]) -> Overrides:
    choices = {
        id: Choice(variant=_variant_of(prompt), role=_text(prompt["role"]), is_counted=False)
        for id, prompt in said["prompts"].items()
    }
    units = {unit: (choices[each["variant"]], seconds_of(each["until"])) for unit, each in said["units"].items()}
    return Overrides(salt=salt_bytes(said["salt"]), units=units)


def leases_of(headers: Mapping[str, str]) -> Leases:
    """By rollout, as each answer has them, a 304 too. Raises ValueError."""
    named = [lease.strip().partition("=") for lease in headers.get("x-detent-leases", "").split(",") if lease.strip()]
    return {rollout: seconds_of(time) for rollout, _, time in named}


def _variant_of(said: Mapping[str, Any]) -> Variant:
    messages, policy = said["messages"], said["policy"]
    return Variant(
        family=_text(said["family"]),
        id=_text(said["variant"]),
        template=Template(messages, said["inputs"]),
        model=dict(said["model"]),
        tools=said["tools"],
        response_format=said["response_format"],
        needs_server=not messages or _is_carried_out(policy, said.get("render")),
    )


def _is_carried_out(policy: Mapping[str, Any], render: str | None) -> bool:
    """Whether only the server can do what the policy says. Nearest examples it alone can look up, too; without them the
    prompt has its fixed ones, which count in the same arm.
    """
    others = [knob for knob in policy if render != "required" or not knob.startswith("examples")]
    return bool(others) or (render == "required" and {*policy["examples"]} != {"nearest"})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is a text")
    return value
