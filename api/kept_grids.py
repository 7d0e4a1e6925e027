"""Keeps the grids of comparisons: each is read by a process of its own, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from optimizer.core.base.errors import Busy
from optimizer.core.family.family import Family

KEPT_S = 3600.0  # a text that is pruned or released meanwhile is seen by then
PAUSE_S = 3.0  # between two reads of one that runs
MOST_KEPT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class GridKey:
    """``figures_only``: read without texts, for a key that may read none."""

    run: str
    figures_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptGrid:
    family: Family  # by whose file it was scored
    grid: Any
    until: float
    n_done: int | None


@dataclass(slots=True)
class KeptGrids:
    """In memory alone. Threads may share it; the ones that were read first go first."""

    now: Callable[[], float] = monotonic
    _kept: dict[GridKey, _KeptGrid] = field(default_factory=dict)
    _n_cleared: int = 0
    _lock: Lock = field(default_factory=Lock)

    def of(self, key: GridKey, family: Family, read: Callable[[], Any], *, n_done: int | None = None) -> Any:
        """The grid as it is kept, else as ``read`` gives it. What was cleared meanwhile is not kept.

        Args:
            n_done: how far a run that goes on is; what was read a moment ago, or where it cannot be read now before,
                is good enough for it. None: it has ended.
        """
        with self._lock:
            entry, n_cleared = self._kept.get(key), self._n_cleared
        now = self.now()
        before = entry if entry is not None and entry.family == family and entry.until > now else None
        is_running = n_done is not None
        if before is not None and (before.n_done == n_done or (is_running and now < before.until - KEPT_S + PAUSE_S)):
            return before.grid
        try:
            grid = read()
        except Busy:
            if before is None or not is_running:
                raise
            return before.grid
        with self._lock:
            if n_cleared == self._n_cleared:
                self._kept.pop(key, None)
                self._kept[key] = _KeptGrid(family=family, grid=grid, until=self.now() + KEPT_S, n_done=n_done)
                while len(self._kept) > MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
        return grid

    def clear(self) -> None:
        """Somebody was forgotten, who may stand in a text."""
        with self._lock:
            self._kept.clear()
            self._n_cleared += 1
