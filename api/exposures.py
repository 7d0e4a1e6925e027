"""Counts of fetches per arm and 10 s, kept in memory and written by a background loop: no request waits for them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from api.prompt import ServedFamily
from optimizer.core.assignment import Choice
from optimizer.ports import Store

WINDOW_S = 10
CLIENT = "api"

Arm = tuple[str, str, str | None, float | None, int]  # family, variant, rollout, stage, window start in seconds since 1970


class ExposureCounts:
    """Counted on the event loop, flushed from a thread: ``flush`` takes the whole counter away before it writes."""

    def __init__(self) -> None:
        self._counts: Counter[Arm] = Counter()

    def count(self, served: ServedFamily, choice: Choice, now_s: float) -> None:
        """One fetch; overrides are tests and stand in no arm."""
        if choice.counted:
            window = int(now_s) // WINDOW_S * WINDOW_S
            self._counts[(served.name, choice.variant, choice.rollout, choice.stage, window)] += 1

    @property
    def n_waiting(self) -> int:
        return sum(self._counts.values())

    def flush(self, store: Store) -> int:
        """Writes what was counted and returns how many fetches that were; what cannot be written is kept for the next time."""
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
            self._counts.update(taken)
            raise
        return sum(taken.values())
