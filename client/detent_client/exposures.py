"""How many prompts each arm was given, by windows of ten seconds. The server keeps a window's largest count, so each is
sent again as long as it grows.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from detent_client.server_time import time_text

WINDOW_S = 10
MAX_WINDOWS = 10_000  # a day of a server that is away, for one arm
KEPT_S = 120  # after its end a window is sent no more, and may be forgotten


class ArmWindow(NamedTuple):
    family: str
    variant: str
    rollout: str | None
    stage: float | None
    start: int  # seconds since 1970 by the server's clock

    def shown(self, n: int) -> dict[str, Any]:
        return {
            "family": self.family,
            "variant": self.variant,
            "rollout": self.rollout,
            "stage": self.stage,
            "from": time_text(self.start),
            "to": time_text(self.start + WINDOW_S),
            "exposed": n,
        }


Key = tuple[str, str, str | None, float | None, int]  # an ArmWindow; made with each prompt, a bare tuple is quicker
Counts = dict[Key, int]


class Exposures:
    """Counts of this process. Any thread may count; one sends. A destructor may count too, in a thread that holds the
    lock: so the thread may take it again, and what is gone through is a copy.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.taken_back = 0
        self._lock = threading.RLock()
        self._is_closed = False
        self._counts: Counts = {}
        self._acknowledged: Counts = {}

    def count(self, family: str, variant: str, rollout: str | None, stage: float | None, at: float) -> None:
        window = (family, variant, rollout, stage, int(at) // WINDOW_S * WINDOW_S)
        with self._lock:
            n = self._counts.get(window)
            if self._is_closed or (n is None and len(self._counts) >= MAX_WINDOWS):
                self.dropped += 1
            else:
                self._counts[window] = (n or 0) + 1

    def take_back(self, family: str, variant: str, rollout: str | None, stage: float | None, at: float) -> None:
        """One that was counted so. What the server has of its window already stays there until the window grows."""
        window = (family, variant, rollout, stage, int(at) // WINDOW_S * WINDOW_S)
        with self._lock:
            self.taken_back += 1
            n = self._counts.pop(window, 0) - 1
            if n > 0 or window in self._acknowledged:
                self._counts[window] = max(n, 0)

    def due(self) -> list[tuple[ArmWindow, int]]:
        """Counts that the server does not have yet."""
        with self._lock:
            counts = self._counts.copy()
            return [(ArmWindow(*key), n) for key, n in counts.items() if n > self._acknowledged.get(key, 0)]

    def acknowledge(self, windows: list[tuple[ArmWindow, int]], server_now: float) -> None:
        """Windows that were taken; those that have long ended are forgotten."""
        with self._lock:
            for window, n in windows:
                self._acknowledged[window] = max(n, self._acknowledged.get(window, 0))
            for key, n in list(self._acknowledged.items()):
                if key[-1] < server_now - KEPT_S and self._counts.get(key, 0) <= n:
                    self._counts.pop(key, None)
                    del self._acknowledged[key]

    def refuse(self, windows: list[tuple[ArmWindow, int]]) -> None:
        """Windows that the server will never take, such as those of a family that is gone."""
        with self._lock:
            for window, n in windows:
                self._counts.pop(window, None)
                self.dropped += n - self._acknowledged.pop(window, 0)

    def close(self) -> None:
        """What is counted from now on is dropped, since nobody would send it."""
        with self._lock:
            self._is_closed = True

    @property
    def n_waiting(self) -> int:
        with self._lock:
            return sum(max(0, n - self._acknowledged.get(key, 0)) for key, n in self._counts.copy().items())
