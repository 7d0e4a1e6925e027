"""Holds texts of model calls that came in log records: an exporter sends them before the call's span, or after it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from optimizer.core.feedback.telemetry import CallTexts

HELD_S = 60.0
MOST_CALLS, MOST_CHARS = 2_000, 8_000_000  # of a process; the oldest go first


@dataclass(slots=True)
class _HeldCall:
    texts: CallTexts
    until: float
    exports: set[int] = field(default_factory=set)


@dataclass(slots=True)
class HeldTexts:
    """Texts by sender and interaction: in memory alone, for a minute from the last record on. Threads may share it."""

    now: Callable[[], float] = monotonic
    _held: dict[tuple[str, str], _HeldCall] = field(default_factory=dict)
    _n_chars: int = 0
    _lock: Lock = field(default_factory=Lock)

    def add(self, sender: str, interaction: str, texts: CallTexts, *, export: int) -> None:
        """``export``: which request brought them; one that is sent again adds nothing."""
        with self._lock:
            key = sender, interaction
            entry = self._held.pop(key, None) or _HeldCall(CallTexts(), 0.0)  # behind all others now
            n_before = entry.texts.n_chars
            if export not in entry.exports:
                entry.texts.add(texts)
                entry.exports.add(export)
            entry.until = self.now() + HELD_S
            self._held[key] = entry
            self._n_chars += entry.texts.n_chars - n_before
            while self._held and (
                len(self._held) > MOST_CALLS
                or self._n_chars > MOST_CHARS
                or next(iter(self._held.values())).until <= self.now()
            ):
                self._remove(next(iter(self._held)))

    def of(self, sender: str, interactions: Collection[str]) -> dict[str, CallTexts]:
        """The texts that are held; they stay until they are taken."""
        with self._lock:
            if not self._held:
                return {}
            entries = {id: self._held.get((sender, id)) for id in interactions}
            return {id: entry.texts for id, entry in entries.items() if entry is not None and entry.until > self.now()}

    def take(self, sender: str, interaction: str) -> None:
        with self._lock:
            if (sender, interaction) in self._held:
                self._remove((sender, interaction))

    def clear(self) -> None:
        with self._lock:
            self._held.clear()
            self._n_chars = 0

    def _remove(self, key: tuple[str, str]) -> None:
        self._n_chars -= self._held.pop(key).texts.n_chars
