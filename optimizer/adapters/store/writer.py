"""One writing thread per process: writes that wait while a commit runs share the next one.

So each answer is on disk without a commit of its own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from optimizer.adapters.store import family_names
from optimizer.adapters.store.engine import is_of_connection
from optimizer.core.base.errors import Busy

LOOK_EVERY_S = 0.001
NEXT, WRITES = 0, 1  # bytes of the file that are locked


class Turn:
    """Whose turn it is to write, among the processes that share an SQLite file.

    Use it on a process's writing thread; ``file`` lies beside the database and stays empty. With SQLite's lock alone, a
    process that finds the file locked tries again after up to a tenth of a second, though the lock is free after
    milliseconds; of two processes that write all the time, one may win again and again. Here the writer holds one lock
    and the next in line another, so they take turns and try each millisecond. A process that has waited for long, or
    cannot lock, writes without a turn: SQLite's own lock decides.
    """

    def __init__(self, file: Path, patience_s: float) -> None:
        self._file, self._patience_s = file, patience_s
        self._fd: int | None = None

    @contextmanager
    def mine(self) -> Iterator[None]:
        is_mine = self._take()
        try:
            yield
        finally:
            if is_mine:
                self._unlock(WRITES)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take(self) -> bool:
        """False: without it."""
        until = monotonic() + self._patience_s
        try:
            if self._fd is None:
                self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not self._lock(NEXT, until):
                return False
            try:
                return self._lock(WRITES, until)
            finally:
                self._unlock(NEXT)
        except (OSError, ImportError):  # no disk that takes files, no system that locks them
            return False

    def _lock(self, which: int, until: float) -> bool:
        import fcntl  # not on every system

        assert self._fd is not None
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, which)
            except BlockingIOError:
                if monotonic() >= until:
                    return False
                sleep(LOOK_EVERY_S)
            else:
                return True

    def _unlock(self, which: int) -> None:
        import fcntl

        assert self._fd is not None
        with suppress(OSError):
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, which)


T = TypeVar("T")
Together = Callable[[Connection, Sequence[Callable[[Connection], Any]]], Sequence[Any]]

GROUP_JOBS = 256  # jobs that share one commit
WAITING_JOBS = 1024
WAITING_ROWS = 20_000  # backpressure before memory grows: twenty full batches
WAIT_S = 30.0  # three busy timeouts, after which a job that has not started is withdrawn


@dataclass(eq=False)
class _Job:
    fn: Callable[[Connection], Any]
    rows: int
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _WriteOutcome:
    """What ``fn`` gave, kept until the commit has decided whether it holds."""

    job: _Job
    value: Any = None
    error: BaseException | None = None


class Writer:
    """A bounded queue and the thread that empties it.

    ``guard`` runs before BEGIN, ``wrote`` after COMMIT; both raise when the file is gone. ``renew`` takes each failure;
    ``turn`` is around each transaction.
    """

    def __init__(
        self,
        engine: Engine,
        guard: Callable[[], None],
        wrote: Callable[[], None],
        renew: Callable[[BaseException], None],
        turn: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._turn = turn
        self._engine = engine
        self._renew = renew
        self._guard, self._wrote = guard, wrote
        self._waiting: deque[_Job] = deque()
        self._rows = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[[Connection], T], rows: int) -> Future[T]:
        """Queues ``fn``; the future is resolved after the commit. Raises Busy when too much waits already.

        A ``fn`` may have an attribute ``together``: a function that does for several such, one behind the other, what
        each of them does alone, and gives their results: an error in the place of one is raised to its caller, as one
        that wrote nothing. What fails so is undone, and each is called alone.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a write inside a write would wait for itself; use the transaction at hand")
        job = _Job(fn, max(rows, 1))
        with self._changed:
            if self._closed:
                raise Busy(
                    "The database is being closed; nothing was written. Try again when the server is back.",
                    passes=False,
                    retry_after_s=5,
                )
            if self._waiting and (len(self._waiting) >= WAITING_JOBS or self._rows + job.rows > WAITING_ROWS):
                raise Busy(
                    f"{len(self._waiting)} writes with {self._rows} rows are waiting already; nothing was written. Send"
                    " again in a second.",
                    retry_after_s=1,
                )
            self._waiting.append(job)
            self._rows += job.rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="detent-writer", daemon=True)
                self._thread.start()
            self._changed.notify()
        return job.future

    def wait(self, future: Future[T]) -> T:
        """The result after commit.

        Raises Busy when the job could not even start within WAIT_S; it is then withdrawn.
        """
        try:
            return future.result(timeout=WAIT_S)
        except FutureTimeout:
            if not future.done() and future.cancel():
                raise Busy(
                    f"The database took no write for {WAIT_S:g} s; nothing was written. Try again.", retry_after_s=5
                ) from None
            return future.result()  # it runs inside an open transaction, which ends

    def close(self) -> None:
        """Writes what waits, then ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while group := self._take():
            self._commit([job for job in group if not job.future.cancelled()])

    def _take(self) -> list[_Job]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_JOBS))]
            self._rows -= sum(job.rows for job in group)
            return group

    def _commit(self, group: list[_Job]) -> None:
        outcomes: list[_WriteOutcome] = []
        try:
            self._guard()
            with self._turn():
                with self._engine.begin() as connection:
                    family_names.look(connection)
                    started = [job for job in group if job.future.set_running_or_notify_cancel()]
                    at_once = _at_once(connection, started)
                if at_once is None:
                    with self._engine.begin() as connection:
                        family_names.look(connection)
                        at_once = [_attempt(connection, job) for job in started]
            outcomes += at_once
            self._wrote()
        except (
            BaseException
        ) as error:  # COMMIT or the connection failed: nothing of the group holds, and each caller must hear it
            self._renew(error)
            for job in group:
                with suppress(InvalidStateError):  # withdrawn by its caller at this very moment
                    job.future.set_exception(error)
            return
        failed = next(
            (outcome.error for outcome in outcomes if outcome.error and is_of_connection(outcome.error)), None
        )
        if failed is not None:
            self._renew(failed)
        for outcome in outcomes:
            if outcome.error is not None:
                outcome.job.future.set_exception(outcome.error)
            else:
                outcome.job.future.set_result(outcome.value)


def _at_once(connection: Connection, started: list[_Job]) -> list[_WriteOutcome] | None:
    """Runs the jobs of a group. None where all would be done together and one failed.

    The whole transaction is then undone, which takes two statements fewer than a SAVEPOINT around what nearly always
    succeeds.
    """
    if len(started) == 1:
        return [_alone(connection, started[0])]
    by_kind = groupby(started, key=lambda job: getattr(job.fn, "together", None))
    groups: list[tuple[Together | None, list[_Job]]] = [(together, list(jobs)) for together, jobs in by_kind]
    if len(groups) == 1 and (together := groups[0][0]) is not None:
        transaction = connection.get_transaction()
        assert transaction is not None
        try:
            return _together_of(connection, together, started)
        except Exception:
            transaction.rollback()
            return None
    return [outcome for together, jobs in groups for outcome in _attempt_all(connection, together, jobs)]


def _together_of(connection: Connection, together: Together, jobs: list[_Job]) -> list[_WriteOutcome]:
    return [
        _WriteOutcome(job, error=value) if isinstance(value, BaseException) else _WriteOutcome(job, value=value)
        for job, value in zip(jobs, together(connection, [job.fn for job in jobs]), strict=True)
    ]


def _alone(connection: Connection, job: _Job) -> _WriteOutcome:
    """Runs the only job of its transaction, which is undone as a whole where it fails: two statements fewer than a
    SAVEPOINT.
    """
    transaction = connection.get_transaction()
    assert transaction is not None
    try:
        return _WriteOutcome(job, value=job.fn(connection))
    except BaseException as error:
        transaction.rollback()
        return _WriteOutcome(job, error=error)


def _attempt_all(connection: Connection, together: Together | None, jobs: list[_Job]) -> list[_WriteOutcome]:
    """Runs jobs in their order: at once where they say how, and one by one where they do not or that fails.

    Raises as ``_attempt`` does.
    """
    if together is not None and len(jobs) > 1:
        savepoint = connection.begin_nested()
        try:
            outcomes = _together_of(connection, together, jobs)
        except Exception:
            savepoint.rollback()  # one of them failed; each of them is run alone below
        else:
            savepoint.commit()
            return outcomes
    return [_attempt(connection, job) for job in jobs]


def _attempt(connection: Connection, job: _Job) -> _WriteOutcome:
    """Runs one job in its own SAVEPOINT.

    Raises only when the transaction itself is lost (disk full, connection gone).
    """
    savepoint = connection.begin_nested()
    try:
        value = job.fn(connection)
    except BaseException as error:
        savepoint.rollback()
        family_names.look(connection)  # a name that it changed has gone back
        return _WriteOutcome(job, error=error)
    savepoint.commit()
    return _WriteOutcome(job, value=value)
