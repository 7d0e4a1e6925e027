"""Holds texts of model calls that came in log records: an exporter sends them before the call's span, or after it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from optimizer.core.feedback.telemetry import MESSAGE_CHARS, CallTexts

HELD_S = 60.0
MOST_CALLS, MOST_CHARS = 2_000, 8_000_000  # of a sender in a process; its oldest go first


@dataclass(slots=True)
class _HeldCall:
    until: float = 0.0
    texts: CallTexts = field(default_factory=CallTexts)
    exports: set[int] = field(default_factory=set)

    @property
    def n_chars(self) -> int:
        return self.texts.n_chars + MESSAGE_CHARS * len(self.exports)


@dataclass(slots=True)
class _HeldSender:
    """``calls``: by interaction, the one that was added to last behind all others."""

    until: float = 0.0
    calls: dict[str, _HeldCall] = field(default_factory=dict)
    n_chars: int = 0

    def pop(self, interaction: str) -> _HeldCall | None:
        call = self.calls.pop(interaction, None)
        self.n_chars -= call.n_chars if call is not None else 0
        return call


@dataclass(slots=True)
class HeldTexts:
    """Texts by sender and interaction: in memory alone, for a minute from the last record on. Threads may share it."""

    now: Callable[[], float] = monotonic
    _senders: dict[str, _HeldSender] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, sender: str, interaction: str, texts: CallTexts, *, export: int) -> None:
        """``export``: which request brought them; one that is sent again adds nothing."""
        with self._lock:
            now = self.now()
            own = self._senders.pop(sender, None) or _HeldSender()
            call = own.pop(interaction) or _HeldCall()
            if export not in call.exports:
                call.texts.add(texts)
                call.exports.add(export)
            own.until = call.until = now + HELD_S
            own.n_chars += call.n_chars
            own.calls[interaction], self._senders[sender] = call, own  # behind all others now
            while own.calls and (
                len(own.calls) > MOST_CALLS or own.n_chars > MOST_CHARS or next(iter(own.calls.values())).until <= now
            ):
                own.pop(next(iter(own.calls)))
            while next(iter(self._senders.values())).until <= now:
                del self._senders[next(iter(self._senders))]

    def of(self, sender: str, interactions: Collection[str]) -> dict[str, CallTexts]:
        """The texts that are held; they stay until they are taken."""
        with self._lock:
            if (own := self._senders.get(sender)) is None:
                return {}
            calls = {id: own.calls.get(id) for id in interactions}
            return {id: call.texts for id, call in calls.items() if call is not None and call.until > self.now()}

    def take(self, sender: str, interaction: str) -> None:
        with self._lock:
            if (own := self._senders.get(sender)) is not None:
                own.pop(interaction)

    def clear(self) -> None:
        with self._lock:
            self._senders.clear()
