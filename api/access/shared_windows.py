"""The counts of a minute, in a file that several processes of one machine share.

The file is a table of places. A sender has one of the eight places of its row. A process that counts for it locks the
row, reads and writes it: three system calls, none of which waits for a disk. Times are those of the machine's monotonic
clock, which its processes share.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from api.access.limits import SHARED_FAILED, MinuteWindow, MinuteWindows, log, share_of

ROWS, IN_ROW = 1024, 8
PLACE = struct.Struct("<16sdq")  # whose, when its minute began, used
ROW_BYTES = IN_ROW * PLACE.size


class SharedWindows:
    """The windows of all processes that open the same file.

    Use it on the event loop only: a lock holds off other processes alone. In a full row the sender that used least
    begins anew.
    """

    def __init__(self, file: Path) -> None:
        """Raises OSError where the file cannot be opened, or has no room for all of its rows."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        missing = ROWS * ROW_BYTES - os.fstat(self._fd).st_size
        if missing > 0:  # now, as none may be left later
            os.pwrite(self._fd, bytes(missing), ROWS * ROW_BYTES - missing)

    @contextmanager
    def of(self, sender: str, now: float) -> Iterator[MinuteWindow]:
        name = blake2b(sender.encode(), digest_size=16).digest()
        at = int.from_bytes(name[:4], "big") % ROWS * ROW_BYTES
        fcntl.lockf(self._fd, fcntl.LOCK_EX, ROW_BYTES, at)
        try:
            content = os.pread(self._fd, ROW_BYTES, at).ljust(ROW_BYTES, b"\0")  # shorter where the file was cut off
            n, window = _place(list(PLACE.iter_unpack(content)), name, now)
            yield window
            os.pwrite(self._fd, PLACE.pack(name, window.start, window.used), at + n * PLACE.size)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, ROW_BYTES, at)


def _place(row: list[tuple[bytes, float, int]], name: bytes, now: float) -> tuple[int, MinuteWindow]:
    """Number and content of the sender's place in its row; else of one that is free, or worth least."""
    for n, (whose, start, used) in enumerate(row):
        if whose == name:
            window = MinuteWindow(start=start, used=used)
            return n, MinuteWindow(start=now, used=0) if window.is_over(now) else window
    windows = [MinuteWindow(start=start, used=used) for _, start, used in row]
    n = min(range(len(windows)), key=lambda n: -1 if windows[n].is_over(now) else windows[n].used)
    return n, MinuteWindow(start=now, used=0)


def minute_windows(workers: int, file: Path) -> Callable[[int, str], MinuteWindows]:
    """Makes the windows of one of several processes, for a limit and what it limits.

    They count together in the file; where that cannot be used, each holds to its share of the limit.
    """
    try:
        shared = SharedWindows(file)
    except OSError as error:
        log.warning(f"{SHARED_FAILED}, each process holds to its part", error=str(error))
        return lambda limit, what: MinuteWindows(share_of(limit, workers), what)
    return lambda limit, what: MinuteWindows(limit, what, windows=shared, workers=workers)
