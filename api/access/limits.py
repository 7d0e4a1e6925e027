"""Limits how much one client may ask for in a minute."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import structlog

from optimizer.core.base.errors import TooMany

WINDOW_S = 60.0
MOST_HELD = 10_000  # senders in memory; the one whose minute began first leaves first
SHARED_FAILED = "limits of a minute cannot be shared"

log = structlog.get_logger("api")


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


@dataclass(slots=True)
class MinuteWindow:
    """A minute of one sender; its holder may change it."""

    start: float
    used: int

    def is_over(self, now: float) -> bool:
        return not 0 <= now - self.start < WINDOW_S  # one that begins later was written before the machine started


class Windows(Protocol):
    """The minutes of all senders."""

    def of(self, sender: str, now: float) -> AbstractContextManager[MinuteWindow]:
        """The sender's minute, or a new one where that is over; what is changed within the block is kept.

        Raises OSError where it cannot be read or kept.
        """


class OwnWindows:
    """The windows of one process."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, MinuteWindow] = OrderedDict()  # those that began first before the others

    @contextmanager
    def of(self, sender: str, now: float) -> Iterator[MinuteWindow]:
        window = self._windows.get(sender)
        if window is None or window.is_over(now):
            window = self._windows[sender] = MinuteWindow(start=now, used=0)
            self._windows.move_to_end(sender)
            if len(self._windows) > MOST_HELD:
                self._windows.popitem(last=False)
        yield window


class MinuteWindows:
    """Counts per key over a minute that starts with the key's first request. Used on the event loop only."""

    def __init__(
        self,
        limit: int,
        counted: str,
        now: Callable[[], float] = monotonic,
        windows: Windows | None = None,
        workers: int = 1,
    ) -> None:
        """Args:
        windows: None for a process that counts alone.
        workers: how many processes count in them; while they cannot be used, each holds to its share of the limit.
        """
        self.limit, self._what, self._now = limit, counted, now
        self._own = OwnWindows()
        self._windows: Windows = windows or self._own
        self._share = share_of(limit, workers)
        self._is_told = False

    def take(self, key: str, n: int = 1, *, refuse: bool = True) -> tuple[Quota, TooMany | None]:
        """Counts ``n`` for ``key``. An error is returned, not raised, so that its answer can have the quota's headers
        too.

        A request that does not fit uses nothing up. With ``refuse=False`` it is counted and allowed.
        """
        now, name = self._now(), f"{self._what} {key}"
        try:
            with self._windows.of(name, now) as window:
                return self._counted(window, n, refuse, now, self.limit)
        except OSError as error:
            if not self._is_told:
                log.warning(f"{SHARED_FAILED}, this process holds to its part", what=self._what, error=str(error))
                self._is_told = True
        with self._own.of(name, now) as window:
            return self._counted(window, n, refuse, now, self._share)

    def _counted(
        self, window: MinuteWindow, n: int, refuse: bool, now: float, limit: int
    ) -> tuple[Quota, TooMany | None]:
        fits = not refuse or window.used + n <= limit
        window.used = max(0, window.used + n) if fits else window.used  # what is given back may be of an earlier minute
        reset_s = max(1, math.ceil(window.start + WINDOW_S - now))
        quota = Quota(limit=limit, remaining=max(0, limit - window.used), reset_s=reset_s)
        if fits:
            return quota, None
        return quota, TooMany(
            f"More than {limit:,} {self._what} in a minute from one sender. Wait {reset_s} s, then go on; "
            "the limit is a setting (docs/reference/settings.md).",
            limit=limit,
            retry_after_s=reset_s,
        )


def count_one(windows: MinuteWindows, sender: str, headers: MutableMapping[str, str]) -> None:
    """Counts one request of the sender. Of several limits that hold for it, ``headers`` tell the nearest.

    Raises TooMany.
    """
    quota, refusal = windows.take(sender)
    _tell(quota, headers)
    if refusal is not None:
        raise refusal


def give_back(windows: MinuteWindows, sender: str, headers: MutableMapping[str, str]) -> None:
    """What ``count_one`` counted for a request that another limit refused."""
    quota, _ = windows.take(sender, -1, refuse=False)
    _tell(quota, headers)


def _tell(quota: Quota, headers: MutableMapping[str, str]) -> None:
    if quota.remaining < int(headers.get("X-RateLimit-Remaining", quota.remaining + 1)):
        headers.update(quota.headers())


def share_of(limit: int, workers: int) -> int:
    """One process's share where they cannot count together: at least one, or each would refuse everything."""
    return max(1, limit // workers)
