"""The store as a whole: group commit, what it says when the file is locked, gone or old, and migrations."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

from optimizer.adapters.database import Database, cursors, engine, migrations, writer
from optimizer.adapters.database.engine import open_engine
from optimizer.core.errors import Busy, Conflict, InvalidInput
from optimizer.ports import UnitCount
from tests import stores
from tests.stores import NOW, new_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    """Waits for locks a tenth of a second instead of ten."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.1)
    database = new_database(tmp_path)
    yield database
    database.close()


def version(database: Database) -> int:
    with database.read() as tx:
        return database.serving_version.read(tx)[0]


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
    def test_what_a_write_returns_is_handed_on_after_the_commit(self, database: Database) -> None:
        assert database.write(lambda tx: tx.execute(text("SELECT 7")).scalar()) == 7

    def test_a_failing_write_undoes_only_itself(self, database: Database) -> None:
        def bump_and_fail(tx: Any) -> None:
            database.serving_version.bump(tx)
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            database.write(bump_and_fail)
        assert version(database) == 0

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

    def test_when_the_commit_fails_nobody_of_the_group_is_told_otherwise(self, database: Database) -> None:
        def spoil(tx: Any) -> None:
            database.serving_version.bump(tx)
            tx.connection.rollback()  # as SQLite does by itself when the disk is full

        with Gate(database):
            futures = [database._writer.submit(fn, 1) for fn in (database.serving_version.bump, spoil, database.serving_version.bump)]
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

    def test_a_file_that_was_write_protected_is_written_again(self) -> None:
        with tempfile.TemporaryDirectory() as folder, as_nobody(Path(folder)):  # pytest's own folders are their owner's alone
            database, file = new_database(Path(folder)), Path(folder) / "detent.db"
            assert version(database) == 0
            file.chmod(0o444)
            with pytest.raises(Busy, match="may only be read"):
                database.write(database.serving_version.bump)
            file.chmod(0o600)
            for beside in Path(folder).glob("detent.db-*"):  # which SQLite makes with the mode of the file
                beside.chmod(0o600)
            database.write(database.serving_version.bump)
            assert version(database) == 1
            database.close()


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """As a user who is held to the modes of files, which root is not."""
    if os.geteuid():
        yield
        return
    stores._migrated()  # read by root
    stores._migrated().parent.chmod(0o755)
    stores._migrated().chmod(0o644)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestBackpressure:
    def test_too_many_waiting_writes_are_turned_away_and_the_others_are_kept(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "WAITING_JOBS", 3)
        with Gate(database):
            futures = [database._writer.submit(database.serving_version.bump, 1) for _ in range(3)]
            with pytest.raises(Busy, match="waiting") as refused:
                database.write(database.serving_version.bump)
        assert refused.value.members["retry_after_s"] == 1
        assert [future.exception(30) for future in futures] == [None] * 3
        assert version(database) == 3

    def test_rows_are_counted_too_but_one_large_write_alone_is_taken(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "WAITING_ROWS", 10)
        with Gate(database):
            first = database._writer.submit(database.serving_version.bump, 5000)
            with pytest.raises(Busy):
                database.write(database.serving_version.bump, rows=1)
        first.result(30)
        database.write(database.serving_version.bump, rows=5000)
        assert version(database) == 2

    def test_a_write_that_never_gets_its_turn_is_withdrawn(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(writer, "WAIT_S", 0.05)
        with Gate(database), pytest.raises(Busy, match="nothing was written"):
            database._writer.wait(database._writer.submit(database.serving_version.bump, 1))
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

    def test_errors_of_the_reader_pass_through(self, database: Database) -> None:
        with pytest.raises(KeyError), database.read():
            raise KeyError("mine")


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
        with pytest.raises(Busy, match="not been migrated"):
            database.write(database.serving_version.bump)
        database.close()

    def test_a_locked_database_is_reported_and_works_again_afterwards(self, impatient: Database, tmp_path: Path) -> None:
        other = sqlite3.connect(tmp_path / "detent.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="another process held it") as refused:
            impatient.write(impatient.serving_version.bump)
        assert refused.value.members["retry_after_s"] > 0
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
        for attempt in (lambda: version(database), lambda: database.write(database.serving_version.bump), database.migrate):
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

    def test_a_store_in_memory_is_refused_since_processes_could_not_share_it(self) -> None:
        with pytest.raises(InvalidInput, match="file"):
            Database("sqlite://")


class TestMigrations:
    def test_they_make_exactly_the_tables_that_the_code_declares(self, database: Database) -> None:
        with database.read() as tx:
            assert compare_metadata(MigrationContext.configure(tx), SQLModel.metadata) == []

    def test_a_key_of_the_one_ladder_keeps_what_it_could_do_and_no_more(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'old.db'}"
        migrate_to(url, "0011")
        with closing(sqlite3.connect(tmp_path / "old.db")) as old, old:
            for role in ("read", "feedback", "operate", "admin"):
                old.execute(
                    "INSERT INTO api_keys (name, role, secret_hash, created_at) VALUES (?, ?, 'h', '2026-11-20 09:00:00')", (role, role)
                )
        database = Database(url)
        database.migrate()
        with database.read() as tx:
            found = {key.name: (key.access.roles, key.access.sources) for key in database.api_keys.all(tx)}
        database.close()
        both = ("person", "judge")
        assert found == {
            "read": (("serve", "read-texts"), ()),
            "feedback": (("feedback", "read-texts"), both),
            "operate": (("feedback", "operate"), both),
            "admin": (("admin",), ()),
        }

    def test_running_them_again_keeps_everything(self, database: Database) -> None:
        database.write(lambda tx: database.audit.add(tx, at=NOW, actor="anna", action="act", family=None, subject="", detail={}))
        database.migrate()
        with database.read() as tx:
            assert len(database.audit.page(tx, None, 9)[0]) == 1

    def test_units_that_were_stored_one_by_one_stay_counted(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'old.db'}"
        migrate_to(url, "0003")
        rows = [("ro_1", stage, f"u{i}", "2026-11-20 09:00:00.000000", 2, 7) for stage in (0, 1) for i in range(1500)]
        rows += [("ro_2", 0, "u1", None, 1, 9), ("ro_2", 0, "u2", None, 0, None)]
        with closing(sqlite3.connect(tmp_path / "old.db")) as old, old:
            old.executemany("INSERT INTO rollout_units VALUES (?, ?, ?, ?, ?, ?)", rows)
        with closing(Database(url)) as database:
            database.migrate()
            database.write(lambda tx: database.unit_counts.put(tx, "ro_1", 1, {(1, "u3"): UnitCount(n_values=9)}))
            with database.read() as tx:
                sums = [database.unit_counts.sums(tx, rollout) for rollout in ("ro_1", "ro_2")]
                last = database.unit_counts.get(tx, "ro_1", 1, ["u3", "u1499"])
                others = database.unit_counts.get(tx, "ro_2", 0, ["u1", "u2"])
        assert sums == [(2999, 6000 + 7), (0, 1)]
        assert last == {"u3": UnitCount(n_values=9), "u1499": UnitCount(cohort_start=NOW, n_values=2, last_minute=7)}
        assert others == {"u1": UnitCount(n_values=1, last_minute=9), "u2": UnitCount()}

    def test_the_folder_is_made_where_there_is_none(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'var' / 'a %b' / 'detent.db'}")
        database.migrate()
        assert version(database) == 0
        database.close()

    def test_a_database_of_a_newer_version_is_left_alone(self, database: Database) -> None:
        database.write(lambda tx: tx.execute(text("UPDATE alembic_version SET version_num = '9999'")))
        with pytest.raises(Conflict, match="another version"):
            database.migrate()

    def test_the_last_step_s_file_is_named_by_its_revision(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        assert migrations.newest() == ScriptDirectory.from_config(config).get_current_head()

    def test_commits_are_on_disk_before_they_are_acknowledged(self, database: Database) -> None:
        served = Database(database.url)  # as the product opens it
        pragmas = served.write(
            lambda tx: [tx.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys")]
        )
        served.close()
        assert pragmas == ["wal", 2, 1]


def migrate_to(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = open_engine(url, "create")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


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
        cursors.decode(cursors.encode(position), kind)
