"""How much of a rollout's evidence each key has brought: labelled units, a unit of several keys shared by the number of their outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

DECIMALS = 4  # of a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """``key`` is "" for outcomes that were stored before it was kept by which key they came."""

    key: str
    labelled: float  # units
    share: float  # of all labelled units, in [0, 1]


def labelled_by_key(units: Iterable[Sequence[str]]) -> dict[str, float]:
    """Key -> labelled units. ``units``: for each, the key of every outcome of its; who adds nine to one has nine tenths of its mean."""
    found: dict[str, float] = {}
    for keys in units:
        for key, n in Counter(keys).items():
            found[key] = found.get(key, 0.0) + n / len(keys)
    return {key: round(n, DECIMALS) for key, n in sorted(found.items())}


def shares(by_key: Mapping[str, float]) -> tuple[KeyShare, ...]:
    """The largest first."""
    total = sum(by_key.values())
    ordered = sorted(by_key.items(), key=lambda item: (-item[1], item[0]))
    return tuple(KeyShare(key=key, labelled=n, share=n / total) for key, n in ordered if total)


def too_much(by_key: Mapping[str, float], most: float) -> str | None:
    """What withholds the next step, as a sentence, where one key has brought more than ``most`` of the evidence."""
    largest = next(iter(shares(by_key)), None)
    if most >= 1 or largest is None or largest.share <= most + 1e-9:
        return None
    name = f"key {largest.key!r}" if largest.key else "keys that are not on record"
    return f"{name} brought {100 * largest.share:.0f} % of the labelled units, and max_share_per_key is {100 * most:g} %"
