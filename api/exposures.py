"""Counts of fetches per arm and 10 s, kept in memory and written by a background loop: no request waits for them."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime

from api.prompt import ServedFamily
from optimizer.core.serving.assignment import Choice
from optimizer.ports import Store

WINDOW_S = 10
CLIENT = "api"

Arm = tuple[
    str, str, str | None, float | None, int
]  # family, variant, rollout, stage, window start in seconds since 1970


class ExposureCounts:
    """Counted on the event loop, flushed from a thread: ``flush`` takes the whole counter away before it writes."""

    def __init__(self) -> None:
        self._counts: Counter[Arm] = Counter()
        self._lock = threading.Lock()  # held for an addition or a swap, never while the store is written
        self._flushing = threading.Lock()

    def count(self, served: ServedFamily, choice: Choice, now_s: float) -> None:
        """One fetch; overrides are tests and stand in no arm."""
        if choice.counted:
            window = int(now_s) // WINDOW_S * WINDOW_S
            with self._lock:
                self._counts[(served.name, choice.variant, choice.rollout, choice.stage, window)] += 1

    @property
    def n_waiting(self) -> int:
        with self._lock:
            return self._counts.total()

    def flush(self, store: Store) -> int:
        """Writes what was counted and returns how many fetches that were;
        what cannot be written is kept for the next time.

        One at a time: the last one, at the end of the process, so waits for one under way, which may yet put back what
        it took.
        """
        with self._flushing:
            with self._lock:
                taken, self._counts = self._counts, Counter()
            if not taken:
                return 0
            rows = [
                (family, variant, rollout, stage, datetime.fromtimestamp(window, UTC), CLIENT, n)
                for (family, variant, rollout, stage, window), n in taken.items()
            ]
            try:
                store.write(lambda tx: store.exposures.add(tx, rows))
            except BaseException:
                with self._lock:
                    self._counts.update(taken)
                raise
            return taken.total()
