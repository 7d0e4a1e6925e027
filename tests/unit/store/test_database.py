"""The store as a whole: group commit, what it says when the file is locked, gone or old, and migrations."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from optimizer.adapters.store import Database, engine, migrations, tables, writer
from optimizer.adapters.store.rows import cursor_at, position_of
from optimizer.core.base.errors import Busy, Conflict, InvalidInput
from tests.stores import NOW, new_database, reading, writing

A_LATER_STEP = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9000", "{migrations.revisions()[-1]}"


def upgrade() -> None:
    op.add_column("audit", sa.Column("mood", sa.String(), nullable=False, server_default="calm"))
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    """Waits for locks a tenth of a second instead of ten."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.1)
    database = new_database(tmp_path)
    yield database
    database.close()


def version(database: Database) -> int:
    return reading(database).serving_version.read()[0]


def test_an_error_of_the_database_tells_the_log_nothing_of_the_values_concerned(database: Database) -> None:
    with pytest.raises(Busy) as failed, database.read() as tx:
        tx.execute(text("SELECT :secret FROM nowhere"), {"secret": "jane.doe@example.org"})
    assert isinstance(failed.value.__cause__, OperationalError)
    assert "jane.doe" not in f"{failed.value} {failed.value.__cause__}"


class Gate:
    """Holds the writer inside a job until it is opened, so that others have to queue up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entered, self._open = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=database.write, args=(self._wait,))

    def _wait(self, tx: Any) -> None:
        self._entered.set()
        assert self._open.wait(30)

    def __enter__(self) -> Gate:
        self._thread.start()
        assert self._entered.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._thread.join()


class TestWriting:
    def test_whatever_waits_shares_one_commit_and_keeps_its_own_result(self, database: Database) -> None:
        commits: list[str] = []

        def one(i: int) -> Any:
            def fn(tx: Any) -> int:
                database.serving_version.bump(tx)
                commits.append(str(id(tx.get_transaction())))
                if i % 3 == 0:
                    raise ValueError(i)
                return i

            return fn

        with Gate(database):
            futures = [database._writer.submit(one(i), 1) for i in range(12)]
        results = [future.exception(30) or future.result() for future in futures]
        assert [r.args[0] if isinstance(r, ValueError) else r for r in results] == list(range(12))
        assert sum(isinstance(r, ValueError) for r in results) == 4
        assert len(set(commits)) == 1
        assert version(database) == 8

    def test_those_that_say_how_are_done_at_once_and_one_by_one_where_that_fails(self, database: Database) -> None:
        done: list[list[int]] = []

        class Bump:
            def __init__(self, number: int, fails: bool = False) -> None:
                self.number, self.fails, self.together = number, fails, bump_all

            def __call__(self, tx: Any) -> int:
                return bump_all(tx, [self])[0]

        def bump_all(tx: Any, jobs: Any) -> list[int]:
            done.append([job.number for job in jobs])
            for job in jobs:
                database.serving_version.bump(tx)
                if job.fails:
                    raise ValueError(job.number)
            return [job.number for job in jobs]

        with Gate(database):
            futures = [database._writer.submit(Bump(number), 1) for number in range(3)]
            futures.append(database._writer.submit(lambda tx: 3, 1))
            futures += [database._writer.submit(Bump(number, fails=number == 5), 1) for number in range(4, 7)]
        results = [future.exception(30) or future.result() for future in futures]
        assert [str(result) for result in results] == list("0123456")
        assert [isinstance(result, ValueError) for result in results] == [False] * 5 + [True, False]
        assert done == [[0, 1, 2], [4, 5, 6], [4], [5], [6]]
        assert version(database) == 5, "what failed together was undone before each was done alone"

    def test_errors_that_are_no_exceptions_reach_the_caller_and_the_writer_goes_on(self, database: Database) -> None:
        class Stop(BaseException):
            pass

        def stop(tx: Any) -> None:
            raise Stop

        with pytest.raises(Stop):
            database.write(stop)
        assert database.write(lambda tx: 1) == 1

    def test_a_write_inside_a_write_is_refused_instead_of_waiting_for_itself(self, database: Database) -> None:
        with pytest.raises(RuntimeError, match="inside a write"):
            database.write(lambda tx: database.write(lambda inner: None))

    def test_asyncio_callers_get_the_same(self, database: Database) -> None:
        async def both() -> tuple[int, BaseException]:
            good = await database.awrite(lambda tx: 1)
            failed = (await asyncio.gather(database.awrite(lambda tx: 1 // 0), return_exceptions=True))[0]
            assert isinstance(failed, BaseException)
            return good, failed

        good, failed = asyncio.run(both())
        assert good == 1
        assert isinstance(failed, ZeroDivisionError)

    def test_asyncio_callers_of_one_commit_hear_of_it_together_and_one_who_left_is_withdrawn(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> tuple[list[Any], int]:
            loop, calls = asyncio.get_running_loop(), list[Any]()
            into_the_loop = loop.call_soon_threadsafe

            def counted(call: Any, *args: Any, **options: Any) -> Any:
                calls.append(call)
                return into_the_loop(call, *args, **options)

            with Gate(database):
                waiting = [asyncio.create_task(database.awrite(lambda tx, i=i: i)) for i in range(9)]  # type: ignore[misc]
                leaving = asyncio.create_task(database.awrite(database.serving_version.bump))
                await asyncio.sleep(0)
                leaving.cancel()
                await asyncio.wait({leaving})
                monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            database.write(lambda tx: None)  # the loop stands still until all before this are written
            return await asyncio.gather(*waiting), len(calls)

        assert asyncio.run(main()) == (list(range(9)), 1)
        assert version(database) == 0

    def test_an_event_loop_that_has_ended_is_forgotten(self, database: Database) -> None:
        def ended() -> ref[asyncio.AbstractEventLoop]:
            async def main() -> ref[asyncio.AbstractEventLoop]:
                await database.awrite(database.serving_version.bump)
                return ref(asyncio.get_running_loop())

            return asyncio.run(main())

        gone = ended()
        database.write(lambda tx: None)  # the writer's thread has let go of the one before
        gc.collect()
        assert gone() is None

    def test_when_the_commit_fails_nobody_of_the_group_is_told_otherwise(self, database: Database) -> None:
        def spoil(tx: Any) -> None:
            database.serving_version.bump(tx)
            tx.connection.rollback()  # as SQLite does by itself when the disk is full

        with Gate(database):
            bump = database.serving_version.bump
            futures = [database._writer.submit(fn, 1) for fn in (bump, spoil, bump)]
        assert all(future.exception(30) is not None for future in futures)
        assert version(database) == 0
        database.write(database.serving_version.bump)
        assert version(database) == 1


class TestAfterASpell:
    """Whatever kept a connection from writing, the next write gets another one once that is over."""

    def test_a_connection_that_could_only_read_is_not_kept(self, database: Database) -> None:
        only_reading = [True]

        @event.listens_for(database._writing, "connect")
        def connected(connection: Any, _: Any) -> None:
            connection.execute(f"PRAGMA query_only = {'ON' if only_reading[0] else 'OFF'}")

        with pytest.raises(Busy, match="may only be read"):
            database.write(database.serving_version.bump)
        only_reading[0] = False
        database.write(database.serving_version.bump)
        assert version(database) == 1

    def test_a_reader_that_was_under_way_meanwhile_is_closed_at_its_end(self, database: Database) -> None:
        """It may share memory that is mapped to read only, and no connection of its process could write as long
        as it is there.
        """
        with database.read() as tx:
            opened: Any = tx.connection.driver_connection
            with pytest.raises(Busy, match="not been migrated"):
                database.write(lambda tx: tx.execute(text("SELECT 1 FROM nowhere")))
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            opened.execute("SELECT 1")


class TestBackpressure:
    def test_too_many_waiting_writes_are_turned_away_and_the_others_are_kept(self, database, monkeypatch):
        monkeypatch.setattr(writer, "WAITING_JOBS", 3)
        with Gate(database):
            futures = [database._writer.submit(database.serving_version.bump, 1) for _ in range(3)]
            with pytest.raises(Busy, match="waiting") as refused:
                database.write(database.serving_version.bump)
        assert refused.value.members["retry_after_s"] == 1
        assert [future.exception(30) for future in futures] == [None] * 3
        assert version(database) == 3

    def test_rows_are_counted_too_but_one_large_write_alone_is_taken(self, database, monkeypatch):
        monkeypatch.setattr(writer, "WAITING_ROWS", 10)
        with Gate(database):
            first = database._writer.submit(database.serving_version.bump, 5000)
            with pytest.raises(Busy):
                database.write(database.serving_version.bump, rows=1)
        first.result(30)
        database.write(database.serving_version.bump, rows=5000)
        assert version(database) == 2

    def test_a_write_that_never_gets_its_turn_is_withdrawn(self, database, monkeypatch):
        with Gate(database):
            monkeypatch.setattr(writer, "WAIT_S", 0.05)
            with pytest.raises(Busy, match="nothing was written"):
                database._writer.wait(database._writer.submit(database.serving_version.bump, 1))
            monkeypatch.undo()
        assert database.write(lambda tx: database.serving_version.read(tx)[0]) == 0


class TestReading:
    def test_reads_see_the_last_commit_while_a_write_is_under_way(self, database: Database) -> None:
        database.write(database.serving_version.bump)
        with Gate(database):
            assert version(database) == 1

    def test_what_a_reader_sees_stays_as_it_is(self, database: Database) -> None:
        with database.read() as tx:
            assert database.serving_version.read(tx)[0] == 0
            database.write(database.serving_version.bump)
            assert database.serving_version.read(tx)[0] == 0
        assert version(database) == 1

    def test_readers_cannot_write(self, database: Database) -> None:
        with pytest.raises(Busy, match="only be read"), database.read() as tx:
            database.serving_version.bump(tx)


class TestTrouble:
    def test_a_missing_file_is_named_and_not_made(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'gone.db'}")
        for attempt in (lambda: version(database), lambda: database.write(lambda tx: None)):
            with pytest.raises(Busy, match="file is not there") as refused:
                attempt()
            assert "gone.db" in (refused.value.said or "")
            assert str(tmp_path) not in refused.value.detail, "an answer to any key tells no path"
        database.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_database_that_was_never_migrated_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "new.db").touch()
        database = Database(f"sqlite:///{tmp_path / 'new.db'}")
        with pytest.raises(Busy, match="not been migrated"):
            version(database)
        with pytest.raises(Busy, match="not been migrated") as refused:
            database.write(database.serving_version.bump)
        assert not refused.value.passes, "another try by and by does not help"
        database.close()

    def test_a_locked_database_is_reported_and_works_again_afterwards(self, impatient, tmp_path):
        other = sqlite3.connect(tmp_path / "detent.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="another process held it") as refused:
            impatient.write(impatient.serving_version.bump)
        assert refused.value.members["retry_after_s"] > 0
        assert refused.value.passes
        assert version(impatient) == 0
        other.execute("ROLLBACK")
        other.close()
        impatient.write(impatient.serving_version.bump)
        assert version(impatient) == 1

    def test_a_file_that_vanishes_takes_no_more_writes(self, database: Database, tmp_path: Path) -> None:
        database.write(database.serving_version.bump)
        for name in ("detent.db", "detent.db-wal", "detent.db-shm"):
            (tmp_path / name).rename(tmp_path / f"moved-{name}")
        with pytest.raises(Busy, match="is not there"):
            database.write(database.serving_version.bump)
        with pytest.raises(Busy, match="is not there"):
            version(database)
        for name in ("detent.db", "detent.db-wal", "detent.db-shm"):
            (tmp_path / f"moved-{name}").rename(tmp_path / name)
        database.write(database.serving_version.bump)
        assert version(database) == 2

    def test_a_file_that_vanishes_during_a_write_is_not_acknowledged(self, database: Database, tmp_path: Path) -> None:
        def bump_and_lose(tx: Any) -> None:
            database.serving_version.bump(tx)
            (tmp_path / "detent.db").rename(tmp_path / "moved.db")

        with pytest.raises(Busy, match="is not there"):
            database.write(bump_and_lose)

    def test_a_file_put_in_its_place_is_noticed(self, database: Database, tmp_path: Path) -> None:
        database.write(database.serving_version.bump)
        (tmp_path / "copies").mkdir()
        new_database(tmp_path / "copies").close()
        for name in ("detent.db-wal", "detent.db-shm"):
            (tmp_path / name).unlink()
        (tmp_path / "copies" / "detent.db").replace(tmp_path / "detent.db")
        assert version(database) == 0
        with pytest.raises(Busy, match="replaced"):
            database.write(database.serving_version.bump)
        database.write(database.serving_version.bump)
        assert version(database) == 1

    def test_a_file_that_is_no_database_is_called_that(self, tmp_path: Path) -> None:
        (tmp_path / "detent.db").write_text("not a database at all, " * 100)
        database = Database(f"sqlite:///{tmp_path / 'detent.db'}")
        bump = database.serving_version.bump
        for attempt in (lambda: version(database), lambda: database.write(bump), database.migrate):
            with pytest.raises(Busy, match="damaged or no database"):
                attempt()
        database.close()

    def test_a_closed_database_takes_no_writes_and_has_kept_those_before(self, tmp_path: Path) -> None:
        database = new_database(tmp_path)
        with Gate(database):
            future = database._writer.submit(database.serving_version.bump, 1)
            closing = threading.Thread(target=database.close)
            closing.start()
        closing.join(30)
        assert future.exception(0) is None
        with pytest.raises(Busy, match="closed"):
            database.write(database.serving_version.bump)
        assert not (tmp_path / "detent.db-wal").exists()


def test_each_table_says_which_module_writes_it() -> None:
    store = Path(tables.__file__).parents[1]
    comment = re.compile(r"^# Written by (\w+\.py)\b.*\n(?:#.*\n)*([A-Z_]+) = table\(", re.MULTILINE)
    declared = [pair for path in (store / "tables").glob("*.py") for pair in comment.findall(path.read_text("utf-8"))]
    written = {
        path.name: path.read_text("utf-8") for folder in (store, store / "repositories") for path in folder.glob("*.py")
    }
    wrong = [name for module, name in declared if not re.search(rf"\b{name}\b", written.get(module, ""))]
    assert (wrong, {name.lower() for _, name in declared}) == ([], set(tables.METADATA.tables))


def act(database: Database, subject: str) -> None:
    entry: dict[str, Any] = {"at": NOW, "actor": "anna", "action": "act", "family": None, "detail": {}}
    writing(database).audit.add(subject=subject, **entry)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestMigrations:
    def test_the_folder_is_made_where_there_is_none(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'var' / 'a %b' / 'detent.db'}")
        database.migrate()
        assert version(database) == 0
        database.close()

    @pytest.mark.parametrize("revision", ["0001", "0015", "9999"])
    def test_a_store_of_another_version_is_refused_and_not_a_byte_of_it_changes(self, tmp_path, revision):
        with closing(new_database(tmp_path)) as made:
            made.write(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision}))
            made.write(lambda tx: tx.exec_driver_sql(f"PRAGMA user_version = {int(revision)}") and None)
        before = files(tmp_path)
        with (
            closing(Database(made.url)) as database,
            pytest.raises(Conflict, match=f"at {revision}.*version that made it.*new home.*import"),
        ):
            database.migrate()
        assert files(tmp_path) == before

    def test_what_a_crash_left_in_its_log_stays_there(self, database: Database, tmp_path: Path) -> None:
        database.write(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '0015'")))
        (after := tmp_path / "after").mkdir()
        for path in tmp_path.glob("detent.db*"):
            shutil.copy(path, after)
        before = files(after)
        assert before["detent.db-wal"]
        with closing(Database(f"sqlite:///{after / 'detent.db'}")) as other, pytest.raises(Conflict, match="at 0015"):
            other.migrate()
        assert files(after) | {"detent.db-shm": b""} == before | {"detent.db-shm": b""}  # its index SQLite makes anew

    def test_a_later_step_is_taken_on_top_of_the_first_and_keeps_what_is_stored(self, database, tmp_path, monkeypatch):
        act(database, "")
        shutil.copytree(migrations.HERE, later := tmp_path / "migrations")
        (later / "versions" / "r9000_mood.py").write_text(A_LATER_STEP)
        monkeypatch.setattr(migrations, "HERE", later)
        database.migrate()
        with database.read() as tx:
            rows = tx.execute(text("SELECT actor, mood FROM audit")).all()
            revision = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
        assert (rows, revision) == ([("anna", "calm")], "9000")

    def test_the_log_that_grew_behind_a_long_read_gives_its_disk_back(self, tmp_path, monkeypatch):
        monkeypatch.setattr(engine, "LOG_BYTES", 1 << 20)
        with closing(Database(new_database(tmp_path).url)) as database:

            def write() -> int:
                act(database, "x" * 100_000)
                return (tmp_path / "detent.db-wal").stat().st_size

            with database.read() as tx:
                database.audit.page(tx, None, 1)
                grown = [write() for _ in range(60)][-1]
            after = [write() for _ in range(60)][-1]
        assert after <= 2 << 20 < grown

    def test_a_step_s_file_is_named_by_its_revision(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations.HERE))
        steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
        assert migrations.revisions() == steps[::-1]

    def test_commits_are_on_disk_before_they_are_acknowledged(self, database: Database) -> None:
        served = Database(database.url)  # as the product opens it
        names = ("journal_mode", "synchronous", "foreign_keys")
        pragmas = served.write(lambda tx: [tx.execute(text(f"PRAGMA {name}")).scalar() for name in names])
        served.close()
        assert pragmas == ["wal", 2, 1]


@pytest.mark.parametrize(
    ("position", "kind"),
    [
        pytest.param(2**63, int, id="a number beyond every column"),
        pytest.param(-(2**70), int, id="a negative one"),
        pytest.param(True, int, id="a truth value"),
        pytest.param("\ud800", str, id="half a character"),
        pytest.param("0001-01-01T00:00:00+14:00", datetime, id="before the calendar begins"),
        pytest.param("9999-12-31T23:59:59-14:00", datetime, id="after it ends"),
        pytest.param("2026-11-20T08:00:00", datetime, id="a time without a zone"),
    ],
)
def test_a_cursor_with_a_place_that_no_database_takes_is_refused(position: Any, kind: type) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        position_of(cursor_at(position), kind)
