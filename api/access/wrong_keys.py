"""Pauses for addresses that send wrong keys, in memory that does not grow.

A right key is never kept waiting: others may stand behind the same address, and no pause makes 256 random bits harder
to guess. What a pause saves is work and log lines, and it tells a sender that goes on with an old key to stop.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from optimizer.core.base.errors import TooMany
from optimizer.host.ports_in_use import network_of

FREE = 5  # wrong keys before the first pause: a person who mistypes is not punished
FIRST_S, LONGEST_S = 1.0, 60.0
FORGOTTEN_S = 600.0  # after so long without a wrong key, the count of an address begins anew
MOST = 10_000  # addresses; the one that was wrong longest ago leaves first


class WrongKeys:
    """Used on the event loop only, so it needs no lock."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        # Address -> (wrong keys, when the last one counted).
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def came_from(self, address: str) -> TooMany | None:
        """Counts a wrong key. One within the pause is not counted; the error says how long the pause still lasts."""
        place, now = network_of(address), self._now()
        n, last = self._counts.get(place, (0, now))
        if now - last > FORGOTTEN_S:
            n = 0
        wait_s = last + (0.0 if n < FREE else min(LONGEST_S, FIRST_S * 2.0 ** min(n - FREE, 30))) - now
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            return TooMany(
                f"{n} wrong keys came from this address. Wait {seconds} s, then send a right one.",
                retry_after_s=seconds,
            )
        self._counts[place] = (n + 1, now)
        self._counts.move_to_end(place)
        if len(self._counts) > MOST:
            self._counts.popitem(last=False)
        return None
