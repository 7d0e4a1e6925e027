"""What a process of its own reads for pages, which takes seconds: a page answers without it, and asks again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Lock, Thread
from time import monotonic
from typing import Any

from optimizer.core.base.errors import Busy
from optimizer.core.serving.access import Access

ENDED_S = 3600.0  # of what has ended; a text that is pruned or released meanwhile is seen by then
CHANGING_S = 10.0  # of what goes on, and of an error: long enough for the page that waits for it
PAUSE_S = 3.0  # between two reads of a run that goes on
MOST_KEPT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadKey:
    """``access``: of who asks, since not everybody may read texts, or this family."""

    subject: str
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRead:
    """``progress``: how far the run was, of which it was read; None: it had ended, or is none."""

    version: Hashable
    progress: int | None
    answer: Any
    error: Exception | None
    at: float
    until: float


@dataclass(slots=True)
class KeptReads:
    """In memory alone. Threads may share it; the ones that were read first go first.

    ``wait_s``: how long each asker waits for what is not there yet.
    """

    now: Callable[[], float] = monotonic
    wait_s: float = 0.0
    _kept: dict[ReadKey, KeptRead] = field(default_factory=dict)
    _under_way: dict[ReadKey, Thread] = field(default_factory=dict)
    _n_cleared: int = 0
    _lock: Lock = field(default_factory=Lock)

    def of(
        self,
        key: ReadKey,
        read: Callable[[], Any],
        *,
        keep_s: float,
        version: Hashable = None,
        progress: int | None = None,
    ) -> KeptRead | None:
        """The latest that ``read`` gave for this ``version`` within ``keep_s`` seconds. Where it was read at another
        ``progress``, or is None, it is being read: ask again.

        Raises once what the read raised.
        """

        def latest() -> KeptRead | None:
            entry = self._kept.get(key)
            if entry is None or entry.version != version or self.now() >= entry.until:
                return None
            return entry if entry.error is None or entry.progress == progress else None

        with self._lock:
            entry, thread = latest(), self._under_way.get(key)
            is_paused = entry is not None and progress is not None and self.now() < entry.at + PAUSE_S
            is_good_enough = entry is not None and (entry.progress == progress or is_paused)
            if not is_good_enough and thread is None:
                arguments = (self._read, key, read, keep_s, version, progress, self._n_cleared)
                thread = Thread(target=copy_context().run, args=arguments, daemon=True)
                thread.start()
                self._under_way[key] = thread
        if not is_good_enough and thread is not None:
            thread.join(self.wait_s)
        with self._lock:
            entry = latest()
            if entry is not None and entry.error is not None:
                del self._kept[key]
                raise entry.error
        return entry

    def _read(
        self,
        key: ReadKey,
        read: Callable[[], Any],
        keep_s: float,
        version: Hashable,
        progress: int | None,
        n_cleared: int,
    ) -> None:
        answer, error = None, None
        try:
            answer = read()
        except Exception as raised:
            error, keep_s = raised, CHANGING_S
        at = self.now()
        entry = KeptRead(version=version, progress=progress, answer=answer, error=error, at=at, until=at + keep_s)
        with self._lock:
            del self._under_way[key]
            self._kept = {of: read_before for of, read_before in self._kept.items() if at < read_before.until}
            before = self._kept.get(key)
            is_shown_before = before is not None and before.error is None and before.version == version
            had_no_turn = isinstance(error, Busy) and error.passes
            if n_cleared != self._n_cleared or (had_no_turn and is_shown_before):
                return
            self._kept.pop(key, None)
            self._kept[key] = entry
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]

    def clear(self) -> None:
        """Somebody was forgotten, who may stand in a text."""
        with self._lock:
            self._kept.clear()
            self._n_cleared += 1
