"""Keeps of active rollouts the difference and what they still need: to read those takes longer than the rest of the
page that lists families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

KEPT_S = 60.0
WAIT_S = 0.03  # for which a page waits; what is read later stands on the next one
MOST_KEPT = 1000


@dataclass(slots=True)
class KeptOutlooks:
    """In memory alone, read one at a time beside the pages. Threads may share it."""

    now: Callable[[], float] = monotonic
    _kept: dict[str, tuple[float, Any]] = field(default_factory=dict)  # until when it is fresh
    _reads: dict[str, Future[None]] = field(default_factory=dict)
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "outlooks"))

    def of(self, reads: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """By rollout, as far as there are; what was read before is shown until it is read again.

        Args:
            reads: how each is read. What they raise is not told.
        """
        for rollout, read in reads.items():
            until, _ = self._kept.get(rollout, (0.0, None))
            earlier = self._reads.get(rollout)
            if until <= self.now() and (earlier is None or earlier.done()):
                self._reads[rollout] = self._reader.submit(self._keep, rollout, read)
        wait([self._reads[rollout] for rollout in reads if rollout in self._reads], timeout=WAIT_S)
        return {rollout: self._kept[rollout][1] for rollout in reads if rollout in self._kept}

    def _keep(self, rollout: str, read: Callable[[], Any]) -> None:
        outlook = read()
        self._kept.pop(rollout, None)
        self._kept[rollout] = self.now() + KEPT_S, outlook
        while len(self._kept) > MOST_KEPT:
            oldest = next(iter(self._kept))
            del self._kept[oldest], self._reads[oldest]
