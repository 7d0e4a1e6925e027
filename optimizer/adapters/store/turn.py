"""Whose turn it is to write, among the processes that share an SQLite file.

A process that finds the file locked tries again after up to a tenth of a second, though the lock is free after
milliseconds; where two processes write all the time, one may win again and again.
Here the writer holds one lock and the next in line another, so they take turns and try each millisecond.

A process that has waited for long, or cannot lock, writes without a turn: SQLite's own lock decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

LOOK_EVERY_S = 0.001
NEXT, WRITES = 0, 1  # bytes of the file that are locked


class Turn:
    """Of one process; used on its writing thread. ``file`` stands beside the database and stays empty."""

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
