"""Connections, and what SQLite has of its own: pragmas, transaction start, upserts, error sentences."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from pydantic_core import from_json
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    and_,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError, TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from optimizer.core.base.errors import Busy, DetentError

# Three processes share the file; a group commit takes milliseconds, a migration or backup may take seconds.
BUSY_TIMEOUT_S = 10.0
# The inner pages of every index, and those at whose end the next rows go; the usual 2 MB are read again all the time.
WRITER_CACHE_KIB = 32_768
LOG_BYTES = 64 << 20  # what the log keeps on the disk once a long read, behind which it grew, has ended
READERS = 8
READERS_AT_PEAK = 40
Access = Literal["look", "read", "write", "create"]
BESIDE = ("-wal", "-shm")  # the log and the memory that processes share
BESIDE_EVERY_S, PROCESSES_EVERY_S = 0.2, 5.0  # to look through all processes takes longer
LOG_GONE = (
    "The store's log was deleted or replaced while processes had it open; what it holds is missing for who opens the"
    " store now. End `detent serve` in order (Ctrl-C or SIGTERM, no kill), which brings the log into the file, and"
    " start it again."
)
DAMAGED = "The store's file is damaged or no database. `detent doctor` says what SQLite finds; restore a backup."
PROCESSES, DELETED = Path("/proc"), " (deleted)"  # what Linux writes behind the name of an open file that has none
_FileId = tuple[int, int]  # device and inode


def open_engine(url: str, access: Access) -> Engine:
    """``read``: pool of deferred, read-only transactions.

    ``write``: one connection, BEGIN IMMEDIATE. ``create``: also makes the file. ``look``: reads, and leaves an SQLite
    file and its log as they are, byte for byte, where ``read`` would bring the log into the file.

    Only ``create`` makes a missing SQLite file: an empty database in the place of a lost one would hide the loss.
    """
    path, reads = sqlite_path(url), access in ("look", "read")
    # A connection that may not write leaves a log where it is; without one, it would make an empty one and leave
    # that.
    uri = (
        (f"{path.as_uri()}?mode=ro" if _has_log(path) else _unchanging(path))
        if access == "look"
        else f"{path.as_uri()}?mode={'rwc' if access == 'create' else 'rw'}"
    )

    def connect() -> sqlite3.Connection:
        return _that_reads(path, opened) if access == "read" else opened()

    def opened() -> sqlite3.Connection:
        # isolation_level None: the dialect's do_begin below starts transactions, not the driver.
        kind = _ReadTransaction if reads else _WriteConnection
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=kind
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
            if reads:
                connection.execute("PRAGMA query_only = ON")
            else:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")  # an answer of 200 means: on disk
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
                connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        json_serializer=_to_json,
        json_deserializer=_from_json,
        hide_parameters=True,
        pool_size=READERS if access == "read" else 1,
        max_overflow=READERS_AT_PEAK - READERS if access == "read" else 0,
        pool_timeout=BUSY_TIMEOUT_S,
        # The last one first: what reads alone keeps its connection, and what that knows of the file.
        pool_use_lifo=access == "read",
    )

    @event.listens_for(engine, "checkin")
    def checkin(connection: sqlite3.Connection | None, record: ConnectionPoolEntry) -> None:
        if isinstance(connection, _Immutable):
            record.invalidate()  # for one look only: the connection would never see later writes

    # The event "begin" has only a query's long way, a tenth of a short transaction.
    engine.dialect.do_begin = lambda connection: connection.execute(connection.start)  # type: ignore[method-assign, assignment]
    return engine


def sqlite_path(url: str) -> Path:
    """The file of a url that the settings have let in."""
    return Path(str(make_url(url).database)).absolute()


_NO_ROOM_BESIDE = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_IOERR")


class _ReadTransaction(sqlite3.Connection):
    start = "BEGIN"


class _WriteConnection(sqlite3.Connection):
    start = "BEGIN IMMEDIATE"


class _Immutable(_ReadTransaction):
    """Reads a file that no process can write."""


def _that_reads(path: Path, opened: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """SQLite wants to make a shared-memory file beside a database that was closed in order.

    A full or read-only disk does not allow that. No process can write such a database either, so it is read as one that
    does not change.
    """
    connection = opened()
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if not error.sqlite_errorname.startswith(_NO_ROOM_BESIDE) or _has_log(path):
            raise
    return sqlite3.connect(
        _unchanging(path), uri=True, isolation_level=None, check_same_thread=False, factory=_Immutable
    )


def _unchanging(path: Path) -> str:
    return f"{path.as_uri()}?mode=ro&immutable=1"


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _from_json(text: str) -> Any:
    """In a third of the time that ``json`` takes, which was half of what a page that reads sums cost."""
    try:
        return from_json(text)
    except ValueError:  # half of a surrogate pair, or deeper than 200: such JSON was stored by ``json``, too
        return json.loads(text)


def _to_json(value: Any) -> str:
    return "{}" if value == {} else _json.encode(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a {type(value).__name__} cannot be stored as JSON")


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False)  # made once


# --- what SQLite spells in its own way --------------------------------------------------------------------------------


def is_one_of(column: ColumnElement[str], values: Collection[str]) -> ColumnElement[bool]:
    """Whether a column's text is one of any number of them, which go to the database as one value."""
    return column.in_(select(_each_of(sorted(values))))


def are_one_of(
    first: ColumnElement[str], second: ColumnElement[Any], pairs: Collection[tuple[str, str]]
) -> ColumnElement[bool]:
    """Whether the texts of two columns are one of any number of pairs, found by an index that begins with both: for
    pairs in a list SQLite would read the whole table.
    """
    pair = _each_of(sorted(pairs))
    return and_(first == func.json_extract(pair, "$[0]"), second == func.json_extract(pair, "$[1]"))


def _each_of(values: Sequence[Any]) -> ColumnElement[Any]:
    """A column of these values, which go to the database as one."""
    return func.json_each(_to_json(values)).table_valued("value", name="given").c.value


def seconds_between(later: ColumnElement[datetime], earlier: ColumnElement[datetime]) -> Any:
    """Seconds from one time to another, to a millisecond, which is as far as SQLite tells times apart."""
    return func.round((func.julianday(later) - func.julianday(earlier)) * 86_400.0, 3)


def in_one_row(tx: Connection, query: Select[tuple[Any]]) -> list[Any]:
    """All values of a query's only column, numbers or texts, read at once.

    The driver lets other threads go on before each row: beside a busy one, two thousand rows take a tenth of a second.
    """
    column = query.subquery().columns[0]
    of_all: Select[Any] = select(func.json_group_array(column, type_=JSON()))
    return list(tx.execute(of_all).scalar_one())


def insert_new(tx: Connection, into: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Inserts the rows whose key is not there yet; returns how many that were."""
    return 0 if not rows else tx.execute(_insert_new(into), list(rows)).rowcount


def upsert(tx: Connection, into: Table, rows: Sequence[Mapping[str, Any]], *, add: Sequence[str] = ()) -> None:
    """Inserts, or replaces the row of the same primary key; columns named in ``add`` are summed up instead."""
    if not rows:
        return
    tx.execute(_upsert(into, tuple(rows[0]), tuple(add)), list(rows))


@cache
def _insert_new(into: Table) -> sqlite.Insert:
    """Built once per table: on the hot path, building a statement costs more than running it."""
    return sqlite.insert(into).on_conflict_do_nothing()


@cache
def _upsert(into: Table, columns: tuple[str, ...], add: tuple[str, ...]) -> sqlite.Insert:
    """Built once per table and set of columns, of which a program writes few."""
    statement = sqlite.insert(into)
    keys = [c.name for c in into.primary_key.columns]
    new = statement.excluded
    changes = {name: into.c[name] + new[name] if name in add else new[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


# --- what went wrong, as a sentence -----------------------------------------------------------------------------------


# Words of SQLite's, whether another try may help, and the sentence for them; the first that fits.
_TROUBLES: Sequence[tuple[tuple[str, ...], bool, str]] = (
    (
        ("locked", "busy"),
        True,
        f"another process held it for longer than {BUSY_TIMEOUT_S:g} s (a backup, a migration, an open shell). Try"
        " again, or end that process",
    ),
    (
        ("unable to open",),
        True,
        "the file is not there or may not be opened. Put it back, check its owner, or run `detent serve`, which makes a"
        " new one",
    ),
    (
        ("no such table", "no such column"),
        False,
        "it has not been migrated to this version. Start `detent serve`, which does that",
    ),
    (("full",), False, "the disk is full, and nothing was written. Free some space"),
    (
        ("readonly", "read-only"),
        False,
        "it may only be read. Check the owner and the mode of the file and its folder",
    ),
    (("",), True, "it did not answer as a database should. Check the disk and the server"),
)


def explain(error: SQLAlchemyError, url: str) -> DetentError | None:
    """The error as a sentence for people; None for a fault of this program, which should be seen as it is."""
    if isinstance(error, PoolTimeout):
        return Busy(
            f"All {READERS_AT_PEAK} connections to the store were in use for {BUSY_TIMEOUT_S:g} s. Try again.",
            retry_after_s=1,
            said=url,
        )
    cause = str(error.orig or error) if isinstance(error, DBAPIError) else str(error)
    text = cause.lower()
    if "malformed" in text or "not a database" in text:
        return Busy(DAMAGED, retry_after_s=60, passes=False, said=f"{url}: {cause}")
    if not isinstance(error, OperationalError):
        return None
    passes, why = next((passes, why) for words, passes, why in _TROUBLES if any(word in text for word in words))
    return Busy(f"The store cannot be used: {why}.", retry_after_s=2, passes=passes, said=f"{url}: {cause}")


READ_ONLY = ("SQLITE_READONLY",)  # SQLite may read the file and not write it
DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")  # a page of the file is not what SQLite wrote
LOCK = ("SQLITE_BUSY", "SQLITE_LOCKED")  # another process held the file for too long, which is no fault of the file


def is_of_sqlite(error: BaseException, names: tuple[str, ...]) -> bool:
    """Whether SQLite reports one of these errors, such as ``DAMAGE``."""
    cause = getattr(error, "orig", None)
    return isinstance(cause, sqlite3.Error) and cause.sqlite_errorname.startswith(names)


def is_of_connection(error: BaseException) -> bool:
    """Another connection may work: this one may remember a file that was read-only, or a damaged page."""
    return isinstance(error, OperationalError) or is_of_sqlite(error, DAMAGE)


class FileWatch:
    """Notices that the SQLite file, its log or its shared memory was deleted or replaced under open connections.

    Writes would vanish with the old one. Another file at the path can be opened instead. Without the log that other
    processes still use it cannot: the contents of that log would be missing, keys among them.
    """

    def __init__(self, url: str) -> None:
        self._path = sqlite_path(url)
        self._seen: _FileId | None = None
        self._beside: dict[str, _FileId] = {}  # the files while a connection was open, which holds them
        self._due = 0.0  # monotonic seconds of the next look beside the file
        self._is_sound = True  # by the last look

    def changed(self) -> bool:
        """True once when another file is at the path than at the last call.

        Raises Busy when there is none, and where the log is not the one that is open here or in another process.
        """
        try:
            now = _id_of(self._path)
        except OSError as error:
            why = "The store's file is not there. Put it back, or run `detent serve`, which makes a new one."
            raise Busy(why, retry_after_s=5, said=f"{self._path}: {error.strerror or error}") from error
        before, self._seen = self._seen, now
        if before is not None and before != now:
            self._beside.clear()
            return True
        if monotonic() >= self._due:
            self._is_sound = self._log_is_its_own()
            self._due = monotonic() + (BESIDE_EVERY_S if self._beside else PROCESSES_EVERY_S)
        if not self._is_sound:
            raise Busy(LOG_GONE, retry_after_s=5, said=str(self._path))
        return False

    def opened(self) -> None:
        """A connection has read or written: no other process removes log and shared memory while it is open."""
        if len(self._beside) < len(BESIDE):
            for suffix in BESIDE:
                with suppress(OSError):
                    self._beside.setdefault(suffix, _id_of(f"{self._path}{suffix}"))
                    self._due = 0.0

    def close(self, close: Callable[[], object], bring_log_in: Callable[[], object]) -> None:
        """Calls what closes connections: the last one of all processes takes the log with it, and others may come.

        Before it, ``bring_log_in`` where the log has no name any more.
        """
        is_own = self._log_is_its_own()
        if not is_own:
            bring_log_in()
        close()
        if is_own:
            self._beside.clear()

    def _log_is_its_own(self) -> bool:
        # Another thread's first connection may add to it meanwhile.
        if self._beside and all(_stands(f"{self._path}{suffix}", id) for suffix, id in tuple(self._beside.items())):
            return True
        if not self._beside and os.path.exists(f"{self._path}-wal"):
            return True
        # The last connection that closes takes the log with it, and none has it open then: only a log that a process
        # still has open was deleted by somebody else.
        if _has_log_without_name(self._path):
            return False
        if self._beside and not PROCESSES.is_dir():
            return False
        self._beside.clear()
        return True


def _stands(path: str, id: _FileId) -> bool:
    try:
        return _id_of(path) == id
    except OSError:
        return False


def _id_of(path: Path | str) -> _FileId:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _has_log_without_name(path: Path) -> bool:
    """Whether a process of this user has the SQLite file open with a log, or a shared memory, that was deleted.

    False where unknown. It reads all processes, which takes milliseconds.
    """
    name = os.path.realpath(path)
    deleted = {f"{name}{suffix}{DELETED}" for suffix in BESIDE}
    for process in PROCESSES.glob("[0-9]*/fd"):
        with suppress(OSError):  # another user's, or it has just ended
            files = {_target(opened) for opened in process.iterdir()}
            if name in files and files & deleted:
                return True
    return False


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def write_anew(connection: sqlite3.Connection, patience_s: float) -> bool:
    """Writes the file of SQLite anew, without the bytes of what was deleted; whether its log is empty behind it."""
    connection.execute("PRAGMA secure_delete = ON")  # what of a new page is not used is zeros
    connection.execute("VACUUM")
    is_blocked, until = 1, monotonic() + patience_s
    while is_blocked and monotonic() < until:  # by a read or a write that ends soon
        is_blocked, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_blocked
