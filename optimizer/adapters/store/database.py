"""The Store: one engine to read, one thread to write, and a repository per group of tables."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from optimizer.adapters.store import family_names
from optimizer.adapters.store.engine import (
    BUSY_TIMEOUT_S,
    DAMAGE,
    DAMAGED,
    LOCK,
    READ_ONLY,
    FileWatch,
    explain,
    is_of_connection,
    is_of_sqlite,
    open_engine,
    sqlite_path,
    write_anew,
)
from optimizer.adapters.store.families import FamilyNameTables
from optimizer.adapters.store.repositories.alerts import AlertTable, AuditTable, OutboxTable
from optimizer.adapters.store.repositories.api_keys import ApiKeyTable, KeyUsageTable
from optimizer.adapters.store.repositories.events import EventTables
from optimizer.adapters.store.repositories.examples import (
    CalibrationTable,
    ExampleIndexTable,
    ExampleTables,
    ReviewTable,
    StudentTable,
)
from optimizer.adapters.store.repositories.graphs import GraphTable
from optimizer.adapters.store.repositories.journal import JournalTable, RunTable
from optimizer.adapters.store.repositories.minute_stats import (
    DriftDetectorTable,
    MinuteStatTables,
    PipelineStatTables,
    SwitchWatchTable,
)
from optimizer.adapters.store.repositories.observations import ObservationQueries
from optimizer.adapters.store.repositories.personal import PersonalTables
from optimizer.adapters.store.repositories.retention import RetentionTables
from optimizer.adapters.store.repositories.rollouts import BlockTables, RolloutTables, UnitCountTable
from optimizer.adapters.store.repositories.serving import (
    ChampionTable,
    ExposureTable,
    FreezeTable,
    OverrideTable,
    ServingVersionTable,
)
from optimizer.adapters.store.repositories.studies import ScheduleTable, StudyTables
from optimizer.adapters.store.repositories.traffic import TrafficTables
from optimizer.adapters.store.repositories.variants import PerformanceTables, PlaybookTables, VariantTable
from optimizer.adapters.store.table_rows import TableRows
from optimizer.adapters.store.traffic_sums import TrafficSumTable
from optimizer.adapters.store.writer import Turn, Writer
from optimizer.core.base.errors import Busy, DetentError

PAUSE_S = 1.0  # reads take milliseconds; what takes longer is not worth holding up every other read


class Readers:
    """A pool of reading connections that can be renewed while some are in use.

    A pool that is disposed forgets the connections in use: they would come back to it after it is gone, and stay open
    for as long as Python likes. Each is closed here as soon as its read ends.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._generation = 0
        self._in_use = 0
        self._pausing = False
        self._changed = threading.Condition()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in its transaction; waits up to PAUSE_S while all are being renewed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pausing, timeout=PAUSE_S)
            self._in_use += 1
            generation = self._generation
        connection: Connection | None = None
        try:
            connection = self.engine.connect()
            with connection.begin():
                family_names.look(connection)
                yield connection
        finally:
            with (
                self._changed
            ):  # no pool may be replaced between this check of the generation and the return to the pool
                self._in_use -= 1
                self._changed.notify_all()
                if connection is not None:
                    if generation != self._generation:
                        connection.invalidate()
                    connection.close()

    def renew(self) -> None:
        """Later reads get new connections; those in use are closed once their reads end."""
        with self._changed:
            self._generation += 1
            self.engine.dispose()

    def renew_at_once(self) -> None:
        """There is a moment without any open connection.

        New reads wait meanwhile for those in use; reads that last longer than PAUSE_S are not waited for, and the
        caller tries again at its next failure.
        """
        with self._changed:
            self._pausing = True
            try:
                self._changed.wait_for(lambda: not self._in_use, timeout=PAUSE_S)
                self.renew()
            finally:
                self._pausing = False
                self._changed.notify_all()

    def close(self) -> None:
        self.engine.dispose()


class Callers:
    """The waiting callers by event loop. ``result`` runs on a loop; the writer's thread hands it the outcome."""

    def __init__(self) -> None:
        self._done: WeakKeyDictionary[asyncio.AbstractEventLoop, _EndedWrites] = WeakKeyDictionary()

    async def result(self, written: Future[Any]) -> Any:
        """The write's result, or what it raises; a cancelled caller withdraws a write that has not begun."""
        loop = asyncio.get_running_loop()
        done = self._done.get(loop)
        if done is None:
            done = self._done[loop] = _EndedWrites()
        waiting = loop.create_future()
        written.add_done_callback(lambda written: done.put(waiting, written))
        try:
            return await waiting
        except asyncio.CancelledError:
            written.cancel()
            raise


class _EndedWrites:
    """Writes that have ended and of which one loop has not heard."""

    def __init__(self) -> None:  # without the loop: what it leads to would never let go of it
        self._ended = deque[tuple[asyncio.Future[Any], Future[Any]]]()
        self._is_called = False

    def put(self, waiting: asyncio.Future[Any], written: Future[Any]) -> None:
        self._ended.append((waiting, written))
        loop = waiting.get_loop()
        if not self._is_called and not loop.is_closed():
            self._is_called = True
            loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_called = False  # first: what is put from now on calls again
        while self._ended:
            waiting, written = self._ended.popleft()
            if waiting.done():  # its caller has gone
                continue
            if written.cancelled():
                waiting.cancel()
            elif (error := written.exception()) is not None:
                waiting.set_exception(error)
            else:
                waiting.set_result(written.result())


T = TypeVar("T")

MOST_DAMAGE = 5
CHECK_PAUSE_S = 5.0  # after a check of a damaged file; it doubles each time,
MOST_CHECK_PAUSE_S = 600.0  # up to this: each check reads all of the file


class Database:
    """ports.Store on a SQLAlchemy url of a file of SQLite: ``sqlite:////srv/detent/var/detent.db``.

    Nothing is opened before the first read or write. Every method raises errors.Busy, with a sentence, when the
    database is locked for longer than ten seconds, missing, not migrated or full;
    callers answer 503 with Retry-After (``error.members["retry_after_s"]``).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._readers = Readers(open_engine(url, "read"))
        self._writing = open_engine(url, "write")
        self._read_watch = FileWatch(url)
        self._write_watch = FileWatch(url)
        self._write_fault: str | None = None
        self._lock_held: str | None = None
        self._check_pause_s, self._check_due = CHECK_PAUSE_S, 0.0  # monotonic seconds
        self._damage: str | None = None  # stays through writes that go well: they touch other pages
        self._callers = Callers()
        self._turn = Turn(Path(f"{sqlite_path(url)}.turn"), BUSY_TIMEOUT_S)
        self._writer = Writer(self._writing, self._guard_write, self._wrote, self._renew, self._turn.mine)
        self.events = EventTables()
        self.exposures = ExposureTable()
        self.traffic = TrafficTables()
        self.examples = ExampleTables()
        self.reviews = ReviewTable()
        self.graphs = GraphTable()
        self.calibrations = CalibrationTable()
        self.students = StudentTable()
        self.example_indexes = ExampleIndexTable()
        self.runs = RunTable()
        self.variants = VariantTable()
        self.playbooks = PlaybookTables()
        self.performance = PerformanceTables()
        self.minute_stats = MinuteStatTables()
        self.traffic_sums = TrafficSumTable()
        self.pipeline_stats = PipelineStatTables()
        self.drift_detectors = DriftDetectorTable()
        self.switch_watches = SwitchWatchTable()
        self.studies = StudyTables()
        self.journal = JournalTable()
        self.rollouts = RolloutTables()
        self.blocks = BlockTables()
        self.unit_counts = UnitCountTable()
        self.observations = ObservationQueries()
        self.champions = ChampionTable()
        self.family_names = FamilyNameTables()
        self.overrides = OverrideTable()
        self.freezes = FreezeTable()
        self.schedules = ScheduleTable()
        self.retained = RetentionTables()
        self.personal = PersonalTables()
        self.outbox = OutboxTable()
        self.alerts = AlertTable(self.outbox)
        self.api_keys = ApiKeyTable(Path(f"{sqlite_path(url)}.keyed"))
        self.key_usage = KeyUsageTable()
        self.audit = AuditTable()
        self.serving_version = ServingVersionTable()
        self.tables = TableRows()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot: what it sees does not change while it is open. Never waits for a writer."""
        if self._read_watch.changed():
            self._readers.renew()
            self._check_pause_s, self._check_due = CHECK_PAUSE_S, 0.0  # another file stands there
        try:
            with self._readers.connection() as connection:
                self._read_watch.opened()
                yield connection
        except SQLAlchemyError as error:
            if is_of_connection(error):
                self._renew_readers()  # whatever was wrong with this connection, the next read gets a new one
            self._raise(error)

    def write(self, fn: Callable[[Connection], T], *, rows: int = 1) -> T:
        """Runs ``fn`` in the writing transaction and returns its result once the commit is on disk.

        ``rows`` is about how many rows ``fn`` writes; the sum of what waits is bounded. ``fn`` runs on the writer's
        thread, and what it did counts at most once. What it raises undoes its own changes only, and is raised here.
        """
        try:
            result = self._writer.wait(self._writer.submit(fn, rows))
        except SQLAlchemyError as error:
            self._raise(error, writing=True)
        self._write_fault = self._lock_held = None
        return result

    async def awrite(self, fn: Callable[[Connection], T], *, rows: int = 1) -> T:
        """``write`` for asyncio: the event loop goes on meanwhile."""
        try:
            written: T = await self._callers.result(self._writer.submit(fn, rows))
        except SQLAlchemyError as error:
            self._raise(error, writing=True)
        self._write_fault = self._lock_held = None
        return written

    @property
    def fault(self) -> str | None:
        """Why the last write of this process failed, or that the file was found damaged; None where all is well."""
        return self._damage or self._write_fault

    @property
    def lock_held(self) -> str | None:
        """The lock that made this process's last write fail; None where it succeeded. A lock is no fault."""
        return self._lock_held

    def look_again(self, *, reads_file: bool = True) -> None:
        """Checks whether ``fault`` and ``lock_held`` are over.

        It tries a write, and every so often checks the whole file, which may take seconds.
        """
        if self._write_fault is not None or self._lock_held is not None:
            with suppress(DetentError):
                # writes a page and changes nothing
                self.write(lambda tx: tx.exec_driver_sql("PRAGMA application_id = 0") and None)
        if self._damage is None or not reads_file or monotonic() < self._check_due:
            return
        if self.damage():
            self._check_due = monotonic() + self._check_pause_s
            self._check_pause_s = min(2 * self._check_pause_s, MOST_CHECK_PAUSE_S)
        else:
            self._damage = None
            self._check_pause_s, self._check_due = CHECK_PAUSE_S, 0.0

    def damage(self, table: str | None = None) -> list[str]:
        """What SQLite finds wrong with the file on disk, at most MOST_DAMAGE faults.

        It reads the whole file, or one table with its indexes.
        """
        self._renew_readers()  # a connection may remember pages as they were
        try:
            with self.read() as tx:
                part = MOST_DAMAGE if table is None else f"'{table}'"
                rows = tx.exec_driver_sql(f"PRAGMA quick_check({part})").scalars().fetchmany(MOST_DAMAGE)
        except Busy as error:
            if error.detail != DAMAGED:
                raise
            return [error.said or DAMAGED]
        return [] if rows == ["ok"] else [str(row) for row in rows]

    def damage_by_tables(self) -> Iterator[list[str]]:
        """``damage`` of one table after the other, each in a transaction of its own; sets ``fault``, too."""
        with self.read() as tx:
            tables = tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        for table in ("sqlite_master", *tables):
            faults = self.damage(table)
            if faults:
                self._damage = DAMAGED
            yield faults

    def migrate(self, alone: Callable[[], AbstractContextManager[object]] = nullcontext) -> str | None:
        """Brings the tables to this version; makes the file when there is none. Returns the revision of tables that a
        later version made, which stay as they are.

        Args:
            alone: entered where there is anything to do, to keep other processes from it.
        """
        from optimizer.adapters.store.migrations import upgrade

        try:
            return upgrade(self.url, alone)
        except SQLAlchemyError as error:
            self._raise(error)

    def compact(self) -> None:
        """Pages that were freed keep their bytes until they are used again, and so do parts of pages in use: only a
        file that is written anew is without them. It goes by the log, which is emptied behind it.
        """
        engine = open_engine(self.url, "write")
        try:
            with closing(engine.raw_connection()) as connection:
                is_emptied = write_anew(cast(Any, connection.driver_connection), BUSY_TIMEOUT_S)
        except sqlite3.OperationalError as error:
            raise Busy(
                "The store could not be written anew: another process held it, or the disk has no room for a second"
                " copy of it. Free some space, or try again.",
                retry_after_s=5,
                said=f"{self.url}: {error}",
            ) from error
        finally:
            engine.dispose()
        if not is_emptied:
            raise Busy("A long read of the store kept its log from being emptied. Try again.", retry_after_s=5)

    def close(self) -> None:
        """Writes what waits, then closes every connection. Later writes raise errors.Busy."""
        self._writer.close()
        self._turn.close()
        self._close(self._readers.close)

    def _close(self, close_readers: Callable[[], object]) -> None:
        def close() -> None:
            self._writing.dispose()
            close_readers()

        self._write_watch.close(lambda: self._read_watch.close(close, self._bring_log_in), self._bring_log_in)

    def _bring_log_in(self) -> None:
        """What a log without a name holds comes into the file. SQLite does it for the last connection of all processes;
        of two that close at one moment, none is the last. A new connection would open another log.
        """
        for engine in (self._writing, self._readers.engine):
            if cast(QueuePool, engine.pool).checkedin():
                with suppress(sqlite3.Error, SQLAlchemyError), closing(engine.raw_connection()) as connection:
                    cast(Any, connection.driver_connection).execute("PRAGMA wal_checkpoint")
                return

    def _renew(self, error: BaseException) -> None:
        """A connection opened while the file was read-only stays read-only.

        SQLite shares the memory beside the file within a process: where one connection opened it to read only, no other
        may write until all of them are closed at one moment, those that read too.
        """

        self._close(self._readers.renew_at_once if is_of_sqlite(error, READ_ONLY) else self._readers.renew)

    def _renew_readers(self) -> None:
        self._read_watch.close(self._readers.renew, self._bring_log_in)

    def _guard_write(self) -> None:
        """Run around each group. A commit into a file that has been deleted or replaced must not be acknowledged."""
        if self._write_watch.changed():
            self._writing.dispose()
            raise Busy(
                "The store's file was replaced while it was open; nothing was kept. Send again.",
                retry_after_s=1,
                said=self.url,
            )

    def _wrote(self) -> None:
        self._guard_write()
        self._write_watch.opened()

    def _raise(self, error: SQLAlchemyError, *, writing: bool = False) -> NoReturn:
        sentence = explain(error, self.url)
        if sentence is None:
            raise error
        if is_of_sqlite(error, DAMAGE):
            self._damage = sentence.detail
        elif writing and is_of_sqlite(error, LOCK):
            self._lock_held = sentence.detail
        elif writing:
            self._write_fault = sentence.detail
        raise sentence from error
