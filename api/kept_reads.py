"""What a process of its own reads for pages, which takes seconds: a page answers without it, and asks again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from threading import Lock, Thread
from time import monotonic
from typing import Any

from optimizer.core.serving.access import Access

ENDED_S = 3600.0  # of what has ended; a text that is pruned or released meanwhile is seen by then
CHANGING_S = 10.0  # of what goes on: long enough for the page that waits for it
PAUSE_S = 3.0  # between two reads of a run that goes on
MOST_KEPT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadKey:
    """``access``: of who asks, since not everybody may read texts, or this family."""

    subject: str
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptRead:
    version: Hashable
    answer: Any
    error: Exception | None
    at: float


@dataclass(slots=True)
class KeptReads:
    """In memory alone. Threads may share it; the ones that were read first go first.

    ``wait_s``: how long each asker waits for what is not there yet.
    """

    now: Callable[[], float] = monotonic
    wait_s: float = 0.0
    _kept: dict[ReadKey, _KeptRead] = field(default_factory=dict)
    _under_way: dict[ReadKey, Thread] = field(default_factory=dict)
    _n_cleared: int = 0
    _lock: Lock = field(default_factory=Lock)

    def of(
        self, key: ReadKey, read: Callable[[], Any], *, keep_s: float, version: Hashable = None, or_older: bool = False
    ) -> Any | None:
        """What ``read`` gave for this ``version`` within ``keep_s`` seconds; None: it is being read, so ask again.

        Raises once what the read raised.

        Args:
            or_older: what was read for another version is good enough until there is more.
        """

        def good_entry() -> _KeptRead | None:
            entry = self._kept.get(key)
            if entry is None or self.now() >= entry.at + keep_s:
                return None
            is_paused = or_older and self.now() < entry.at + PAUSE_S
            return entry if entry.version == version or is_paused else None

        with self._lock:
            entry, thread = good_entry(), self._under_way.get(key)
            if entry is None and thread is None:
                thread = Thread(target=self._read, args=(key, read, version, or_older, self._n_cleared), daemon=True)
                self._under_way[key] = thread
                thread.start()
        if entry is None and thread is not None:
            thread.join(self.wait_s)
        with self._lock:
            entry = good_entry() or (self._kept.get(key) if or_older else None)
            if entry is not None and entry.error is not None:
                del self._kept[key]
                raise entry.error
        return entry.answer if entry is not None else None

    def _read(self, key: ReadKey, read: Callable[[], Any], version: Hashable, or_older: bool, n_cleared: int) -> None:
        answer, error = None, None
        try:
            answer = read()
        except Exception as raised:
            error = raised
        entry = _KeptRead(version=version, answer=answer, error=error, at=self.now())
        with self._lock:
            del self._under_way[key]
            if n_cleared != self._n_cleared:
                return
            before = self._kept.pop(key, None)
            if error is not None and or_older and before is not None:
                entry = replace(before, at=entry.at)
            self._kept[key] = entry
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]

    def clear(self) -> None:
        """Somebody was forgotten, who may stand in a text."""
        with self._lock:
            self._kept.clear()
            self._n_cleared += 1
