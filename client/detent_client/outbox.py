"""Events that wait to be sent: bounded in number and bytes. Where there is no room the oldest goes, and is counted."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from detent_client.assignment import family_of

MAX_EVENTS = 10_000
MAX_BYTES = 32 * 1024 * 1024
MAX_EVENT_BYTES = 4 * 1024 * 1024  # of one: the server takes bodies of eight
BATCH_EVENTS = 500
BATCH_BYTES = 1024 * 1024


class WaitingEvent(NamedTuple):
    family: str | None
    text: bytes


class Outbox:
    """Each event is bytes, so that what changes later changes no event, with the family whose it is, which says when
    it is sent whether its texts go along.

    The garbage collector may end a stream in a thread that holds the lock, and the stream adds its event: so the thread
    may take the lock again, and no number is read before a call and written after it.
    """

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self.dropped = 0
        self.sent = 0
        self.rejected: Counter[str] = Counter()  # by the server's word for why
        self.in_no_arm = 0  # of those sent: kept, but for no arm of their rollout
        self._most = max_events
        self._lock = threading.RLock()
        self._events: deque[WaitingEvent] = deque()
        self._n_bytes = 0
        self._n_taken = 0
        self._is_closed = False

    def add(self, event: Mapping[str, Any]) -> bool:
        """False where it was dropped. Never raises."""
        try:
            document = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
            text = document.encode(errors="replace")  # half of a surrogate pair, as in the name of a file, is no text
        except Exception:  # the text of the application's own object may raise whatever it likes
            text = b""
        n_bytes = len(text)
        with self._lock:
            if self._is_closed or not 0 < n_bytes <= MAX_EVENT_BYTES:
                self.dropped += 1
                return False
            family = event.get("family") or family_of(event.get("assignment", ""))
            self._events.append(WaitingEvent(family, text))
            self._n_bytes += n_bytes
            self._make_room()
        return True

    def take(self) -> list[WaitingEvent]:
        """The oldest, as many as one request carries; ``settle`` says what became of them."""
        with self._lock:
            taken, n_bytes = list[WaitingEvent](), 0
            while self._events and len(taken) < BATCH_EVENTS and (not taken or n_bytes < BATCH_BYTES):
                taken.append(self._events.popleft())
                n_bytes += len(taken[-1].text)
            self._n_bytes -= n_bytes
            self._n_taken = len(taken)
            return taken

    def settle(
        self, *, sent: int = 0, in_no_arm: int = 0, rejected: Mapping[str, int] | None = None, again: list[WaitingEvent]
    ) -> None:
        """``again``: what must be sent once more, in its order, ahead of what came meanwhile."""
        with self._lock:
            self.dropped -= self._n_taken if self._most == 0 else 0
            self.sent += sent
            self.in_no_arm += in_no_arm
            self.rejected.update(rejected or {})
            self._events.extendleft(reversed(again))
            n_bytes = sum(len(event.text) for event in again)
            self._n_bytes += n_bytes
            self._n_taken = 0
            self._make_room()

    def close(self) -> None:
        """What comes from now on is dropped, since nobody would send it."""
        with self._lock:
            self._is_closed = True

    def end(self) -> int:
        """What still waits is dropped, since nobody sends any more; how many that are."""
        with self._lock:
            # Nobody hears any more what becomes of those under way.
            n, self._most, self.dropped = self.n_waiting, 0, self.dropped + self._n_taken
            self._make_room()
            return n

    @property
    def n_waiting(self) -> int:
        return len(self._events) + self._n_taken

    def waiting(self) -> list[bytes]:
        with self._lock:
            return [event.text for event in self._events]

    def _make_room(self) -> None:
        while len(self._events) > self._most or self._n_bytes > MAX_BYTES:
            n_bytes = len(self._events.popleft().text)
            self._n_bytes, self.dropped = self._n_bytes - n_bytes, self.dropped + 1
