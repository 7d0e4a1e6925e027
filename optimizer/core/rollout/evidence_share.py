"""How much of a rollout's evidence each key has brought, and which units of a key count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.core.rollout.blocks import ArmName

SHARE_DECIMALS = 4  # of a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """``key`` is "" for outcomes that were stored before it was kept by which key they came."""

    key: str
    labelled: float  # units
    share: float  # of all labelled units, in [0, 1]


def labelled_by_key(units: Iterable[Sequence[str]]) -> dict[str, float]:
    """Key -> labelled units.

    ``units``: for each, the key of every outcome of its; who adds nine to one has nine tenths of its mean.
    """
    n_by_key: dict[str, float] = {}
    for keys in units:
        for key, n in Counter(keys).items():
            n_by_key[key] = n_by_key.get(key, 0.0) + n / len(keys)
    return {key: round(n, SHARE_DECIMALS) for key, n in sorted(n_by_key.items())}


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
    return (
        f"{name} brought {100 * largest.share:.0f} % of the labelled units, and max_share_per_key is {100 * most:g} %"
    )


ArmAndKey = tuple[ArmName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedCounts:
    """``counted``: how many units of each arm count by each key; ``beyond``: units that do not,
    with the key that sent them.
    """

    counted: Mapping[ArmAndKey, int] = field(default_factory=dict)
    beyond: Mapping[str, str] = field(default_factory=dict)


def within_exposures(
    units: Mapping[str, tuple[ArmName, Sequence[str]]],
    *,
    reported: Mapping[ArmAndKey, int],
    counted: Mapping[ArmAndKey, int],
) -> BoundedCounts:
    """Which of one stage's recomputed units count.

    Args:
        units: unit's HMAC -> its arm and the keys that sent it; taken in the order of the HMACs, which know nothing of
            outcomes.
        reported: exposures of the stage.
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
