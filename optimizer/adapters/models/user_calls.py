"""Whether a user waits for a model on this machine, so that background work can stand back.

It survives any kill, since the system frees the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET_S = 1.0  # after the last user's call, so that no other call begins between two requests of a busy hour


class UserCalls:
    """One per process that answers users.

    While a call is under way the file is locked; its time of change is the end of the last one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._n = 0
        self._opened: int | None = None  # file descriptor; it stays open between calls
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if self._opened is not None:
            os.close(self._opened)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around one user's call. A file that cannot be written keeps no user waiting."""
        with self._lock:
            self._n += 1
            if self._n == 1:
                with contextlib.suppress(OSError):
                    if self._opened is not None and os.fstat(self._opened).st_nlink == 0:  # the file was removed
                        os.close(self._opened)
                        self._opened = None
                    if self._opened is None:
                        self._file.parent.mkdir(parents=True, exist_ok=True)
                        self._opened = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
                    fcntl.flock(self._opened, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with self._lock:
                self._n -= 1
                if self._n == 0 and self._opened is not None:
                    with contextlib.suppress(OSError):
                        os.utime(self._opened)
                    with contextlib.suppress(OSError):
                        fcntl.flock(self._opened, fcntl.LOCK_UN)


def users_wait(file: Path) -> bool:
    """Whether a user's call is under way, or ended within QUIET_S."""
    try:
        with file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return abs(time.time() - os.fstat(lock.fileno()).st_mtime) < QUIET_S
    except BlockingIOError:
        return True
    except OSError:
        return False  # no user was ever served here
