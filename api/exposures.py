"""Counts of fetches per arm and 10 s, and of inputs that were cut: in memory, written by a background loop.

No request waits for them.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from api.prompt import ServedFamily
from optimizer.core.serving.assignment import Choice
from optimizer.ports import Store, Transaction

WINDOW_S = 10
CLIENT = "api"

# Family, variant, rollout, stage, window start in seconds since 1970.
Arm = tuple[str, str, str | None, float | None, int]

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

    def count(self, served: ServedFamily, choice: Choice, now_s: float) -> None:
        """Counts one fetch. Overrides are tests, and in no arm."""
        if choice.counted:
            window = int(now_s) // WINDOW_S * WINDOW_S
            self._fetches.append((served.name, choice.variant, choice.rollout, choice.stage, window))

    def count_nearest(self, served: ServedFamily, choice: Choice) -> None:
        """The fetch showed the examples that are nearest to its request."""
        self._nearest.extend([(served.name, choice.variant)] * choice.counted)

    def count_truncated(self, family: str, inputs: Iterable[str]) -> None:
        """The inputs of one request that were cut."""
        self._truncated.extend((family, input) for input in inputs)

    @property
    def n_waiting(self) -> int:
        return len(self._fetches) + self._unwritten.total()

    def flush(self, store: Store) -> int:
        """Writes the counts; returns how many fetches they were. What cannot be written stays for the next time.

        Only one runs at a time: the last flush, when the process ends, waits for one under way, which may put its
        counts back.
        """
        with self._flushing:
            fetches = Counter(self._fetches.popleft() for _ in range(len(self._fetches)))
            fetches.update(self._unwritten)
            self._unwritten = fetches
            nearest = Counter(self._nearest.popleft() for _ in range(len(self._nearest)))
            nearest.update(self._unwritten_nearest)
            self._unwritten_nearest = nearest
            truncated = Counter(self._truncated.popleft() for _ in range(len(self._truncated)))
            for (family, input), n in truncated.items():
                log.warning("inputs were cut", family=family, input=input, n_requests=n)
            truncated.update(self._unwritten_truncated)
            self._unwritten_truncated = truncated
            if not fetches and not truncated:
                return 0
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
            return fetches.total()
