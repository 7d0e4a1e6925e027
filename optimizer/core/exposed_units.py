"""Units that name their arm themselves, without a token, count only as far as the key that sent them has reported exposures.

A token is signed, and each was fetched; who knows a rollout's salt can recompute arms of users that never were. What is beyond the
exposures is stored like everything else, and counts in a later cohort if its key has reported more by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.core.blocks import ArmName

ArmAndKey = tuple[ArmName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """``counted``: how many units of each arm count by each key; ``beyond``: units that do not, with the key that sent them."""

    counted: Mapping[ArmAndKey, int] = field(default_factory=dict)
    beyond: Mapping[str, str] = field(default_factory=dict)


def within_exposures(
    units: Mapping[str, tuple[ArmName, Sequence[str]]], *, reported: Mapping[ArmAndKey, int], counted: Mapping[ArmAndKey, int]
) -> Bounded:
    """Which of one stage's recomputed units count.

    Args:
        units: unit's HMAC -> its arm and the keys that sent it; taken in the order of the HMACs, which know nothing of outcomes.
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
    fresh = {which: n - counted.get(which, 0) for which, n in now.items() if n > counted.get(which, 0)}
    return Bounded(counted=fresh, beyond=beyond)
