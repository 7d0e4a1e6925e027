"""Counts of fetches per arm and 10 s, and of inputs that were cut: in memory, written by a background loop.

No request waits for them.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime
from time import time
from typing import TypeVar

import structlog

from optimizer.core.serving.assignment import Choice
from optimizer.ports import Store, Transaction

WINDOW_S = 10
CLIENT = "api"

# Family, variant, rollout, stage, window start in seconds since 1970.
Arm = tuple[str, str, str | None, float | None, int]

T = TypeVar("T")

log = structlog.get_logger("api")


class ExposureCounts:
    """A fetch is one append, which needs no lock: ``flush``, in a thread, counts what was appended and writes that."""

    def __init__(self) -> None:
        self._fetches: deque[Arm] = deque()
        self._unwritten: Counter[Arm] = Counter()  # what could not be written yet
        self._nearest: deque[tuple[str, str]] = deque()  # family, variant
        self._unwritten_nearest: Counter[tuple[str, str]] = Counter()
        self._truncated: deque[tuple[str, str]] = deque()  # family, input
        self._unwritten_truncated: Counter[tuple[str, str]] = Counter()
        self._flushing = threading.Lock()

    def count(self, family: str, choice: Choice, truncated: Iterable[str] = (), *, is_nearest: bool = False) -> None:
        """Counts one fetch, and the inputs of it that were cut. Overrides are tests, and in no arm.

        A refused request was exposed to nothing, so call it once nothing can be refused any more.

        Args:
            is_nearest: the fetch showed the examples that are nearest to its request.
        """
        if choice.counted:
            if is_nearest:  # first: a flush that writes the fetch writes this, too
                self._nearest.append((family, choice.variant))
            window = int(time()) // WINDOW_S * WINDOW_S
            self._fetches.append((family, choice.variant, choice.rollout, choice.stage, window))
        self._truncated.extend((family, input) for input in truncated)

    @property
    def n_waiting(self) -> int:
        return len(self._fetches) + self._unwritten.total()

    def flush(self, store: Store) -> None:
        """Writes the counts. What cannot be written stays for the next time.

        Only one runs at a time: the last flush, when the process ends, waits for one under way, which may put its
        counts back.
        """
        with self._flushing:
            fetches = self._unwritten = self._unwritten + _counts_in(self._fetches)
            nearest = self._unwritten_nearest = self._unwritten_nearest + _counts_in(self._nearest)
            newly_truncated = _counts_in(self._truncated)
            truncated = self._unwritten_truncated = self._unwritten_truncated + newly_truncated
            for (family, input), n in newly_truncated.items():
                log.warning("inputs were cut", family=family, input=input, n_requests=n)
            if not fetches and not truncated:
                return
            rows = [
                (family, variant, rollout, stage, datetime.fromtimestamp(window, UTC), CLIENT, n)
                for (family, variant, rollout, stage, window), n in fetches.items()
            ]
            now = datetime.now(UTC)

            def add(tx: Transaction) -> None:
                store.exposures.add(tx, rows)
                store.exposures.add_nearest(tx, nearest)
                store.exposures.add_truncated(tx, truncated, now)

            store.write(add)
            self._unwritten, self._unwritten_nearest, self._unwritten_truncated = Counter(), Counter(), Counter()


def _counts_in(waiting: deque[T]) -> Counter[T]:
    """How often each was appended. The deque is empty afterwards."""
    return Counter(waiting.popleft() for _ in range(len(waiting)))
