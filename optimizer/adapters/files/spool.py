"""Records that the store could not take yet: one append-only file, in order, bounded in size.

A record is on disk before ``append`` returns. A line is a CRC-32 in hex, a space, JSON and a newline. Room is allocated
before it is promised, so that a record still has its place when the disk is full. What follows the last whole line
(zeros of allocated room, a line torn by a kill) is not read.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from optimizer.core.base.errors import Busy

ROOM_BYTES = 1024 * 1024  # allocated at once
MOST_BYTES = 64 * 1024 * 1024
SPOOLS, NAME = "spool", "interactions"  # the folder in a home's var, and a file in it
MOST_SPOOLS = 64  # processes that keep one at the same time
PART = 200  # records that are handed out at once
_ID = re.compile(rb'"id":"(in_\w{26})"')


class Spool:
    """Thread-safe. One process at a time holds the file; another one is refused until that one has ended.

    Args:
        path: made when it is first used, mode 600, in a folder of mode 700.
        most_bytes: records and promised room together never take more.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path, self._most = path, most_bytes
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._file: int | None = None
        self._start = self._end = self._room = 0  # bytes: first record not yet drained, behind the last one, allocated
        self._promised = 0

    @contextmanager
    def promise(self, n_bytes: int) -> Iterator[None]:
        """Keeps room for a record of this size while the block runs.

        Raises:
            Busy: there is no room, on the disk or within the bound; nothing was promised.
        """
        with self._lock:
            self._allocate(self._promised + n_bytes)
            self._promise(n_bytes)
        try:
            yield
        finally:
            self.give_back(n_bytes)

    def promise_at_once(self, n_bytes: int) -> bool:
        """Keeps room, where that takes no work of the disk and no waiting for it; ``give_back`` is the caller's."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._file is None or self._end + self._promised + n_bytes > self._room:
                return False
            self._promise(n_bytes)
            return True
        finally:
            self._lock.release()

    def give_back(self, n_bytes: int) -> None:
        self._promise(-n_bytes)

    def _promise(self, n_bytes: int) -> None:
        with self._counting:  # never held while the disk works, so that an event loop can give room back
            self._promised += n_bytes

    def append(self, record: Mapping[str, Any]) -> None:
        """Returns once the record is on disk. Raises Busy where it can neither use promised room nor get any."""
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        line = b"%08x %s\n" % (crc32(text), text)
        with self._lock:
            self._allocate(len(line))
            try:
                _write(self._open(), line, self._end)
            except OSError as error:
                raise self._busy(error) from error
            self._end += len(line)

    @property
    def is_empty(self) -> bool:
        """True if no unread record is known; the file is first read at the first promise."""
        return self._start == self._end

    def waiting(self) -> tuple[Sequence[Mapping[str, Any]], int]:
        """The oldest records, at most PART, and the place behind them for ``drained``; none where nothing waits.

        Raises Busy where the file cannot be read.
        """
        with self._lock:
            try:
                text = _whole_lines(self._open(), self._start, self._end)
            except OSError as error:
                raise self._busy(error) from error
            records, place = [], self._start
            for line in text.splitlines(keepends=True)[:PART]:
                records.append(json.loads(line[9:]))
                place += len(line)
            return records, place

    def drained(self, place: int) -> None:
        """Everything before this place is in the store.

        The file is emptied once all of it is: its texts do not stay.
        """
        with self._lock:
            self._start = max(self._start, place)
            if self._start < self._end or self._file is None or not self._end:
                return
            _write(self._file, b"\0" * self._end, 0)
            self._start = self._end = 0

    @property
    def aside(self) -> Path:
        return self.path.with_suffix(".refused")

    def set_aside(self, record: Mapping[str, Any]) -> None:
        """Keeps a record that no store takes, so that a person can look at it."""
        file = os.open(self.aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, json.dumps(record).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)

    def hold(self, *, must_open: bool = False) -> bool:
        """Whether this process holds the file from now on; False where another one does.

        ``must_open``: only where the disk can be read. A disk that fails is not taken for another process: the next
        write reports it.
        """
        with self._lock:
            try:
                self._open()
            except BlockingIOError:
                return False
            except OSError:
                return not must_open
            return True

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _allocate(self, n_bytes: int) -> None:
        """Room for so many bytes behind the last record. Raises Busy."""
        try:
            file = self._open()
            wanted = self._end + n_bytes
            if wanted > self._most:
                raise Busy(
                    f"The store takes no records at present, and {self._most:,} bytes of them are waiting in the spool."
                    " No model was asked. Free the store (its lock, its disk); what waits goes into it by itself.",
                    retry_after_s=5,
                    said=str(self.path),
                )
            if wanted > self._room:
                room = min(self._most, -(-wanted // ROOM_BYTES) * ROOM_BYTES)
                _write(file, bytes(room - self._room), self._room)
                self._room = room
        except OSError as error:
            raise self._busy(error) from error

    def _open(self) -> int:
        if self._file is None:
            import fcntl  # not on every system; the api only reads

            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(file, 0o600)
                self._room = os.fstat(file).st_size
                self._start, self._end = 0, _end_of(os.pread(file, self._room, 0))
            except BaseException:
                os.close(file)
                raise
            self._file = file
            file = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)
        return self._file

    def _busy(self, error: OSError) -> Busy:
        return Busy(
            "A record could not be kept safe in the spool, so no answer is given. Free some space, or check who may"
            " write there.",
            retry_after_s=5,
            said=f"{self.path}: {error.strerror or error}",
        )


def claim(folder: Path) -> Spool:
    """The first spool of the folder that no other process holds.

    Where the disk takes nothing it is the first of all, whose use then reports that.
    """
    for number in range(1, MOST_SPOOLS + 1):
        spool = Spool(folder / (NAME if number == 1 else f"{NAME}-{number}"))
        if spool.hold():
            return spool
    return Spool(folder / NAME)


def left_behind(own: Spool) -> Iterator[Spool]:
    """Spools beside ``own`` whose process has ended with records in them, each held while it is looked at."""
    for path in spool_files(own.path.parent):
        if path == own.path:
            continue
        spool = Spool(path)
        try:
            if spool.hold(must_open=True) and not spool.is_empty:
                yield spool
        finally:
            spool.close()


def waiting_ids(folder: Path) -> set[str]:
    """The ids of the interactions in all spools of the folder, whoever holds them. While one is drained the store has
    some of them, too. A file that cannot be read holds none.
    """
    ids: set[str] = set()
    for path in spool_files(folder):
        with suppress(OSError), path.open("rb") as file:
            if (first := file.read(1)) not in (b"", b"\0"):  # what was drained is zeros
                text = first + file.read()
                ids.update(id.decode() for id in _ID.findall(text, 0, _end_of(text)))
    return ids


def spool_files(folder: Path) -> list[Path]:
    """Of all spools of the folder, in order; what was set aside is none."""
    return sorted(path for path in folder.glob(f"{NAME}*") if not path.suffix)


def _end_of(text: bytes) -> int:
    """Where the last whole line ends."""
    end = 0
    for line in text.splitlines(keepends=True):
        try:
            is_whole = line.endswith(b"\n") and int(line[:8], 16) == crc32(line[9:-1])
        except ValueError:
            is_whole = False
        if not is_whole:
            break
        end += len(line)
    return end


def _whole_lines(file: int, start: int, end: int) -> bytes:
    """Some of the lines in that range, at least one where there is any."""
    size = ROOM_BYTES
    while True:
        text = os.pread(file, min(size, end - start), start)
        if size >= end - start or b"\n" in text:
            return text[: text.rfind(b"\n") + 1]
        size *= 4


def _write(file: int, text: bytes, place: int) -> None:
    """Writes the whole text to disk."""
    rest = memoryview(text)
    while rest:
        n = os.pwrite(file, rest, place)
        rest, place = rest[n:], place + n
    os.fsync(file)
