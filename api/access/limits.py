"""How much one client may ask for in a minute."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from optimizer.core.base.errors import TooMany

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What is left of a minute's allowance after a request."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }


class MinuteWindows:
    """Counts per key over a minute that starts with the key's first request.

    Used on the event loop only, so it needs no lock.
    """

    def __init__(self, limit: int, what: str, now: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self._what = what
        self._now = now
        self._windows: dict[str, tuple[float, int]] = {}  # key -> (start, used)

    def take(self, key: str, n: int = 1, *, refuse: bool = True) -> tuple[Quota, TooMany | None]:
        """Counts ``n`` for ``key``; the error is returned, not raised,
        so that its answer can carry the quota's headers too.

        A request that does not fit uses nothing up. With ``refuse=False`` it is counted and allowed.
        """
        now = self._now()
        start, used = self._windows.get(key, (now, 0))
        if now - start >= WINDOW_S:
            start, used = now, 0
        reset_s = max(1, math.ceil(start + WINDOW_S - now))
        if refuse and used + n > self.limit:
            self._windows[key] = (start, used)
            quota = Quota(limit=self.limit, remaining=max(0, self.limit - used), reset_s=reset_s)
            return quota, TooMany(
                f"More than {self.limit:,} {self._what} in a minute from one sender. Wait {reset_s} s, then go on; "
                "the limit is a setting (docs/reference/settings.md).",
                limit=self.limit,
                retry_after_s=reset_s,
            )
        self._windows[key] = (start, used + n)
        if len(self._windows) > 10_000:
            self._forget_old(now)
        return Quota(limit=self.limit, remaining=max(0, self.limit - used - n), reset_s=reset_s), None

    def _forget_old(self, now: float) -> None:
        self._windows = {key: window for key, window in self._windows.items() if now - window[0] < WINDOW_S}
