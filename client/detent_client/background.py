"""Keeps the snapshot fresh, and sends what waits: two daemon threads, which start with the first use, so that a server
that is slow in one holds up nothing of the other.

No request of a user waits for it, but the first one for the first snapshot, as long as the client was told.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import random
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from time import monotonic
from typing import Any

from detent_client.connection import REFUSED, THREAD_NAME, Connection, RequestFailed
from detent_client.delivery import deliver
from detent_client.events import without_texts
from detent_client.exposures import ArmWindow, Exposures
from detent_client.outbox import BATCH_EVENTS, Outbox, WaitingEvent
from detent_client.server_time import server_time_of
from detent_client.snapshot import Snapshot, leases_of, read_families, server_now

SEND_S = 2.0
JITTER = 0.2  # many clients that were started together do not ask together
MAX_DELAY_S = 10.0  # between attempts while the server is away
EXIT_S = 3.0  # for which a program that ends waits for what was not sent
WINDOWS_AT_ONCE = 500
OLD_REFRESHES = 3  # a snapshot that is so many older than the threads is of before a fork, and waits for a newer one

log = logging.getLogger("detent_client")


class Background:
    """One client's threads, and what they share with those of the application. ``is_forgotten``: the client is gone, so
    the threads end at their next turn.
    """

    def __init__(self, connect: Callable[[], Connection], *, refresh_s: float, max_events: int) -> None:
        self._connect, self._refresh_s, self._max_events = connect, refresh_s, max_events
        self.snapshot: Snapshot | None = None
        self.is_closed = self.is_forgotten = False
        self.reset()
        _LIVE.add(self)

    def reset(self) -> None:
        """Empty buffers, no thread, a name of its own: as a new process starts, also a forked one, whose parent sends
        what the parent counted. The snapshot stays, since its leases run on the same clock.
        """
        self.client_id = f"py-{token_hex(8)}"
        self.exposures, self.outbox = Exposures(), Outbox(self._max_events)
        self.failure: str | None = None
        self.send_failure: str | None = None
        self.is_started, self._started_at = False, 0.0
        self._threads: list[threading.Thread] = []
        self._connection: Connection | None = None
        self._starting, self._refreshing = threading.Lock(), threading.Lock()
        self._first_attempt = threading.Event()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._rounds = threading.Condition()
        self._n_asked = self._n_done = self._n_failures = 0
        if self.is_closed:  # before a fork
            self.stop()

    def start(self) -> None:
        with self._starting:
            if self.is_started or self.is_closed:
                return
            self._started_at = monotonic()
            try:
                for loop in (self._keep_fresh, self._keep_sending)[len(self._threads) :]:
                    thread = threading.Thread(target=loop, name=THREAD_NAME, daemon=True)
                    thread.start()
                    self._threads.append(thread)
            except RuntimeError:  # the machine has no more threads, or the program is ending
                self.failure = "no thread could be started"
                self._first_attempt.set()
                return
            self.is_started = True
        # Before Python 3.13 its forked children end without the exit handlers of atexit.
        if (multiprocessing := sys.modules.get("multiprocessing")) and multiprocessing.parent_process():
            multiprocessing.util.Finalize(None, _at_exit, exitpriority=0)

    def wait_for_snapshot(self, timeout_s: float) -> None:
        """Until the first attempt is over, at most so long after the thread was started."""
        if self.must_wait(timeout_s):
            self._first_attempt.wait(max(0.0, self._started_at + timeout_s - monotonic()))

    def must_wait(self, timeout_s: float) -> bool:
        """Starts the threads, where they do not run."""
        if not self.is_started:
            self.start()
        if self._first_attempt.is_set() or not self.is_started or monotonic() >= self._started_at + timeout_s:
            return False
        return self.snapshot is None or self.snapshot.fetched_at < self._started_at - OLD_REFRESHES * self._refresh_s

    def report(self, event: Mapping[str, Any]) -> bool:
        """Never waits. False where the event was dropped."""
        if not self.is_started and not self._starting.locked():  # by this thread, whose garbage ends a stream
            self.start()
        kept = self.outbox.add(event)
        if self.outbox.n_waiting == BATCH_EVENTS:
            with self._rounds:
                self._n_asked += 1
            self._wake.set()
        return kept

    def flush(self, timeout_s: float) -> bool:
        """True where nothing waits any more."""
        if self.is_started:
            with self._rounds:
                self._n_asked += 1
                asked = self._n_asked
                self._wake.set()
                self._rounds.wait_for(lambda: self._n_done >= asked or self.is_closed, timeout_s)
        return not self.outbox.n_waiting and not self.exposures.n_waiting

    def stop(self) -> None:
        """What waits is sent once more, and the threads end."""
        self.is_closed = True
        self.outbox.close()
        self.exposures.close()
        self._closing.set()
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Waits for that, and counts as dropped what was not sent."""
        self.stop()
        until = monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        n_exposures = self.exposures.n_waiting
        self.exposures.refuse(self.exposures.due())
        if (n_events := self.outbox.end()) or n_exposures:
            log.warning("the client ends with %d events and %d exposures that were not sent", n_events, n_exposures)

    def _keep_fresh(self) -> None:
        while not self._closing.wait(self._refresh()):
            if self.is_forgotten:
                self.stop()

    def _keep_sending(self) -> None:
        self._first_attempt.wait()  # nothing is sent before a snapshot says which texts may leave
        while True:
            if self.is_forgotten:
                self.stop()
            with self._rounds:
                asked, is_last = self._n_asked, self.is_closed
            if self.snapshot is None and (is_last or asked > self._n_done):
                self._refresh()
            delay_s = self._send(self._connection) if self._connection is not None else SEND_S
            with self._rounds:
                self._n_done = asked
                self._rounds.notify_all()
            if is_last:
                break
            self._wake.wait(delay_s)
            self._wake.clear()
        if self._connection is not None:
            self._connection.close()

    def _refresh(self) -> float:
        """Seconds until the next time. One thread after the other, so that no older answer replaces a newer one."""
        with self._refreshing:
            try:
                self._connection = self._connection or self._connect()
                self.snapshot = self._next_snapshot(self._connection)
            except Exception as error:  # an address or key that no request carries, or an answer that breaks the reader
                return self._failed(error)
            finally:
                self._first_attempt.set()
            if self._n_failures:
                log.info("the snapshot is fresh again")
            self._n_failures, self.failure = 0, None
        return self._jittered(self._refresh_s)

    def _next_snapshot(self, connection: Connection) -> Snapshot:
        before = self.snapshot
        answer = connection.snapshot(before.etag if before is not None else None)
        etag, leases = answer.headers.get("etag"), leases_of(answer.headers)
        if answer.status == 200:
            families = read_families(answer.body)
        elif before is None:
            raise RequestFailed("status 304, though nothing was named")
        else:
            families, etag, leases = before.families, before.etag, leases or before.leases
        time = server_time_of(answer.headers, answer.sent_at)
        return Snapshot(families=families, etag=etag, fetched_at=answer.sent_at, time=time, leases=leases)

    def _failed(self, error: Exception) -> float:
        """What an exception says may quote an answer: only its kind is told, but for what this client says itself."""
        self.failure = str(error) if isinstance(error, RequestFailed) else type(error).__name__
        if not self._n_failures and not self.is_closed:
            log.warning("the snapshot cannot be refreshed (%s); what was served goes on", self.failure)
        self._n_failures += 1
        asked = error.retry_after_s if isinstance(error, RequestFailed) else None
        delay = min(self._refresh_s * 2 ** min(self._n_failures, 10), MAX_DELAY_S)
        return self._jittered(max(delay, asked or 0.0))

    def _jittered(self, seconds: float) -> float:
        return seconds * random.uniform(1 - JITTER, 1 + JITTER)

    def _send(self, connection: Connection) -> float:
        """Seconds until the next time. Exposures go first: outcomes count only as far as exposures were reported."""
        try:
            failure = self._send_exposures(connection) or self._send_events(connection)
        except Exception as error:  # as above
            log.error("sending failed (%s)", type(error).__name__)
            failure = RequestFailed(type(error).__name__)
        if (failure is None) != (self.send_failure is None):
            log.warning("what waits %s", f"cannot be sent ({failure})" if failure is not None else "is sent again")
        self.send_failure = str(failure) if failure is not None else None
        return self._jittered(SEND_S if failure is None else max(SEND_S, failure.retry_after_s or 0.0))

    def _send_exposures(self, connection: Connection) -> RequestFailed | None:
        def post(windows: Sequence[tuple[ArmWindow, int]]) -> Mapping[str, Any] | None:
            body = {"client": self.client_id, "windows": [window.shown(n) for window, n in windows]}
            # 403: a family that the key is not for, and only the fallback's file has
            return connection.post("/v1/exposures", json.dumps(body).encode(), refused=(*REFUSED, 403))

        due = self.exposures.due()
        for at in range(0, len(due), WINDOWS_AT_ONCE):
            delivery = deliver(due[at : at + WINDOWS_AT_ONCE], post)
            self.exposures.acknowledge(delivery.taken, server_now(self.snapshot))
            self.exposures.refuse(delivery.refused)
            if delivery.failure is not None:
                return delivery.failure
        return None

    def _send_events(self, connection: Connection) -> RequestFailed | None:
        def post(events: Sequence[WaitingEvent]) -> Mapping[str, Any] | None:
            texts = [self._as_sent(event, connection.families) for event in events]
            return connection.post("/v1/feedback", b"[" + b",".join(texts) + b"]")

        while self.snapshot is not None and (events := self.outbox.take()):
            try:
                delivery = deliver(events, post)
            except Exception:
                self.outbox.settle(again=events)
                raise
            rejections = [one for answer in delivery.answers for one in answer.get("rejected") or ()]
            rejected = Counter(str(one.get("type")) for one in rejections if isinstance(one, Mapping))
            for reason in rejected.keys() - self.outbox.rejected.keys():
                log.warning("the server refuses events (%s); this is told once", reason)
            n_sent = max(0, len(delivery.taken) - sum(rejected.values()))
            rejected += Counter(refused=len(delivery.refused))
            in_no_arm = sum(int(answer.get("in_no_arm", 0)) for answer in delivery.answers)
            self.outbox.settle(sent=n_sent, in_no_arm=in_no_arm, rejected=rejected, again=delivery.left)
            if delivery.failure is not None:
                return delivery.failure
        return None

    def _as_sent(self, event: WaitingEvent, names: Sequence[str] | None) -> bytes:
        """``names``: of the families that were asked for; what another one may keep is not known."""
        entry = self.snapshot.families.get(event.family or "") if self.snapshot is not None else None
        keeps_texts = entry.store != "metadata" if entry is not None else names is None or event.family in names
        return event.text if keeps_texts else without_texts(event.text)


_LIVE: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for background in list(_LIVE):
        background.reset()


def _at_exit() -> None:
    live = [background for background in _LIVE if background.is_started]
    for background in live:
        background.stop()
    until = monotonic() + EXIT_S
    for background in live:
        background.close(max(0.0, until - monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
