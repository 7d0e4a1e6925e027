"""Green means sound: a store that is damaged, or not the one at its path, turns what tells of it red, and nothing that
needed a key is answered without one.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import lifecycle
from optimizer.adapters.clock import SystemClock
from optimizer.adapters.store import database, engine
from optimizer.core.base.errors import Busy
from optimizer.host import run_files
from optimizer.host.config import Settings
from optimizer.jobs.upkeep import check_store
from optimizer.jobs.upkeep.manage_keys import remove_only_key
from optimizer.ports import Store
from optimizer.runtime import wiring, worker
from optimizer.runtime.store_health import StoreHealth
from tests.children import telling
from tests.clock import until
from tests.command_line import detent
from tests.end_to_end.processes.test_serve_without_terminal import NO_MODEL, pid_of
from tests.stand_ins.running_server import Server, make_home as make_project, started
from tests.stores import new_database, reading
from tests.worlds.api_world import make_home, serving

EVENT = {"family": "triage", "unit": "u", "success": True}


def store_of(settings: Settings) -> Path:
    return Path(settings.db_url().removeprefix("sqlite:///"))


TABLE, INDEX = "feedback_events", "sqlite_autoindex_feedback_events_1"
table_and_index = pytest.mark.parametrize("damaged", [TABLE, INDEX], indirect=True)


@pytest.fixture
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Path, bytes, int]:
    """A home with an event, the first page of whose table or index is overwritten; what stood there, and where."""
    settings = make_home(tmp_path)
    with serving(settings) as before:
        assert before.post("/v1/feedback", EVENT).status_code == 200
    file = store_of(settings)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        named = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", [getattr(request, "param", TABLE)]
        ).fetchone()
        connection.execute("PRAGMA journal_mode = WAL")
    at = (named[0] - 1) * size
    was = write_at(file, at, os.urandom(size))
    return settings, file, was, at


def write_at(file: Path, at: int, page: bytes) -> bytes:
    """Gives what stood there."""
    with file.open("r+b") as opened:
        opened.seek(at)
        before = opened.read(len(page))
        opened.seek(at)
        opened.write(page)
    return before


def meet_damage(store: Store) -> None:
    """Reads the table and its index."""
    for of in ("NOT INDEXED", f"INDEXED BY {INDEX}"):
        with suppress(Busy), store.read() as tx:
            tx.exec_driver_sql(f"SELECT * FROM feedback_events {of} WHERE id > ''").all()  # type: ignore[attr-defined]
    assert store.fault is not None


def meet_and_stay(tell: Callable[[str], object], settings: Settings) -> None:
    store = wiring.open_store(settings)
    meet_damage(store)
    StoreHealth(settings, store).look()
    tell("met")
    threading.Event().wait()


@table_and_index
def test_a_damaged_page_turns_ready_and_status_red_until_the_file_is_whole_again(
    damaged: tuple[Settings, Path, bytes, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file, was, at = damaged
    monkeypatch.setattr(lifecycle, "LOOK_AGAIN_S", 0.2)
    monkeypatch.setattr(database, "CHECK_PAUSE_S", 0.1)
    monkeypatch.setattr(database, "MOST_CHECK_PAUSE_S", 0.2)
    with serving(settings) as world:
        assert world.post("/v1/feedback", EVENT).status_code == 503
        world.get("/v1/families/triage/prompt?unit=u")
        until(lambda: world.shared.exposures.n_waiting == 0, "a write that goes well")
        ready = world.get("/ready")
        assert (ready.status_code, ready.json()["dependencies"]["store"]["ok"]) == (503, False)
        assert "damaged" in ready.json()["dependencies"]["store"]["detail"]
        assert "damaged" in world.get("/v1/status").json()["dependencies"]["store"]["detail"]
        until(lambda: list(settings.run_dir().glob("store-fault-*")), "the other processes are told")
        assert world.get("/v1/families/triage/prompt?unit=u").status_code == 200, "from memory"
        write_at(file, at, was)
        until(lambda: world.get("/ready").status_code == 200, "green again")
        until(lambda: not list(settings.run_dir().glob("store-fault-*")), "the other processes are told")
        assert world.post("/v1/feedback", EVENT).status_code == 200


def test_a_damaged_page_that_another_process_meets_turns_ready_and_status_red_until_that_process_ends(
    damaged: tuple[Settings, Path, bytes, int],
) -> None:
    settings, *_ = damaged
    with telling(meet_and_stay, settings) as (other, told), serving(settings) as world:
        assert next(told) == "met\n"
        ready = world.get("/ready")
        store = ready.json()["dependencies"]["store"]
        assert (ready.status_code, store["ok"]) == (503, False)
        assert store["detail"].startswith(f"Process {other.pid}: ")
        assert "damaged" in store["detail"]
        assert "damaged" in world.get("/v1/status").json()["dependencies"]["store"]["detail"]
        other.kill()
        other.join()
        assert world.get("/ready").status_code == 200
        assert list(settings.run_dir().glob("store-fault-*")) == []


@contextmanager
def running_worker(settings: Settings) -> Iterator[worker.Worker]:
    """In this process. DBOS ends with it: its threads draw from ``random``, which Hypothesis would hold against the
    property tests that follow.
    """
    from dbos import DBOS

    running, ready = worker.Worker(settings), threading.Event()
    thread = threading.Thread(target=lambda: running.run(wait=False, on_ready=ready.set))
    thread.start()
    try:
        until(ready.is_set, "the worker's duties")
        yield running
    finally:
        running.stop()
        thread.join()
        DBOS.destroy()


def test_the_worker_finds_a_damaged_page_that_no_process_needs_and_tells_of_it_until_the_file_is_whole_again(
    damaged: tuple[Settings, Path, bytes, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file, was, at = damaged
    for name in ("STORE_SECONDS", "STORE_PAGES_SECONDS"):
        monkeypatch.setattr(worker, name, 0.1)
    monkeypatch.setattr(check_store, "REST", 0.0)
    monkeypatch.setattr(database, "CHECK_PAUSE_S", 0.1)
    monkeypatch.setattr(database, "MOST_CHECK_PAUSE_S", 0.2)

    def is_told() -> bool:
        return bool(reading(running._store).alerts.all(open_only=True, kind=check_store.ALERT))

    with running_worker(settings) as running:
        until(lambda: list(settings.run_dir().glob("store-fault-*")), "the other processes are told")
        until(is_told, "an alert")
        write_at(file, at, was)
        until(lambda: not list(settings.run_dir().glob("store-fault-*")), "the other processes are told")
        until(lambda: not is_told(), "the alert's end")


def test_a_read_of_all_pages_rests_for_as_long_as_a_fiftieth_of_a_processor_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now, rests = new_database(tmp_path), [0.0], list[float]()
    monkeypatch.setattr(check_store, "monotonic", lambda: now[0])
    check = store.damage

    def damage(table: str | None = None) -> list[str]:
        now[0] += 2.0
        return check(table)

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr(store, "damage", damage)
    check_store.check_store(store, SystemClock(), rest)
    assert len(rests) > 40, "table by table"
    assert 2.0 * len(rests) / now[0] == pytest.approx(0.02)
    store.close()


def test_a_damaged_file_is_read_again_ever_more_seldom_and_at_once_where_another_stands(
    damaged: tuple[Settings, Path, bytes, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file, was, at = damaged
    now = [0.0]
    monkeypatch.setattr(database, "monotonic", lambda: now[0])
    store = wiring.open_store(settings)
    assert isinstance(store, database.Database)
    checks: list[float] = []
    monkeypatch.setattr(store, "damage", lambda: [checks.append(now[0])])
    meet_damage(store)
    for second in range(3600):
        now[0] = float(second)
        store.look_again(reads_file=False)
        store.look_again()
    assert checks[:6] == [0, 5, 15, 35, 75, 155]
    assert checks[-1] - checks[-2] == database.MOST_CHECK_PAUSE_S
    monkeypatch.undo()
    store.close()
    write_at(file, at, was)


def test_a_store_that_another_program_holds_is_busy_and_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.2)
    settings = make_home(tmp_path)
    with serving(settings) as world:
        with closing(sqlite3.connect(store_of(settings), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert world.post("/v1/feedback", EVENT).status_code == 503
            ready = world.get("/ready")
            store = ready.json()["dependencies"]["store"]
            assert (ready.status_code, store["ok"], store["busy"]) == (200, True, True), ready.text
            assert "another process held it" in store["detail"]
            holder.execute("ROLLBACK")
        assert world.post("/v1/feedback", EVENT).status_code == 200
        store = world.get("/ready").json()["dependencies"]["store"]
        assert (store["busy"], store["detail"]) == (False, None)


@table_and_index
def test_doctor_reads_every_page(damaged: tuple[Settings, Path, bytes, int]) -> None:
    settings, file, was, at = damaged
    environment = {"DETENT_HOME": str(settings.home), "NO_COLOR": "1"}

    def verdicts() -> list[str]:
        findings = detent("doctor", "--json", env=environment).json["findings"]
        return [one["verdict"] for one in findings if one["check"] == "store"]

    assert "fault" in verdicts()
    write_at(file, at, was)
    assert verdicts() == ["ok"]


def test_a_log_is_missed_where_a_process_has_it_open_and_not_where_it_went_with_the_last_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BESIDE_EVERY_S", "PROCESSES_EVERY_S"):
        monkeypatch.setattr(engine, name, 0.0)
    home = tmp_path / "linked"
    home.symlink_to(tmp_path, target_is_directory=True)
    new_database(tmp_path).close()
    url = f"sqlite:///{home / 'detent.db'}"
    watch, other = engine.FileWatch(url), engine.FileWatch(url)
    with closing(sqlite3.connect(home / "detent.db")) as connection:
        connection.execute("SELECT * FROM sqlite_master").fetchall()
        watch.opened()
        other.opened()
        assert not watch.changed()
    assert not Path(f"{home / 'detent.db'}-wal").exists()
    assert not watch.changed()
    with closing(sqlite3.connect(home / "detent.db")) as connection:
        connection.execute("SELECT * FROM sqlite_master").fetchall()
        assert not other.changed(), "another log, in order"
        watch.opened()
        Path(f"{home / 'detent.db'}-wal").unlink()
        with pytest.raises(Busy, match="log was deleted"):
            watch.changed()


def read_and_stay(tell: Callable[[str], object], settings: Settings) -> None:
    store = wiring.open_store(settings)
    assert reading(store).api_keys.all() == []
    tell("open")
    threading.Event().wait()


@pytest.mark.parametrize("notices", [True, False])
def test_who_ends_brings_a_deleted_log_into_the_file_although_it_is_not_the_last_that_has_it_open(
    tmp_path: Path, notices: bool
) -> None:
    settings = make_home(tmp_path)
    with telling(read_and_stay, settings) as (_killed_at_the_end, told):
        assert next(told) == "open\n"
        with serving(settings) as world:
            world.add_key("app", "admin", secret="app")
            Path(f"{store_of(settings)}-wal").unlink()
            if notices:  # and closes what it has open, for nothing that it writes would be kept
                until(lambda: world.post("/v1/feedback", EVENT, headers={"X-API-Key": "app"}).status_code == 503)
    with serving(settings) as again:
        until(lambda: again.get("/v1/families").status_code == 401, "the key, once this process looks at others again")


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm")], ids="".join)
@pytest.mark.long
def test_with_its_log_deleted_nothing_is_answered_that_needs_the_store_and_nothing_without_a_key(
    tmp_path: Path, gone: tuple[str, ...]
) -> None:
    home = make_project(tmp_path / "home", NO_MODEL)
    with started(home) as server:
        made = httpx.post(f"{server.url}/v1/keys", json={"name": "app", "roles": ["admin"]}, timeout=60).json()
        key = {"Authorization": f"Bearer {made['secret']}"}
        until(lambda: status(server, "/v1/families") == 401, "the first key")
        assert status(server, "/v1/alerts", **key) == 200
        lose_the_log(server, key, *gone)
        doctor = server.another("doctor", "--json")  # which ends, and holds nothing open
        assert doctor.returncode == 1
        findings = json.loads(doctor.stdout)["findings"]
        assert any(one["verdict"] == "fault" for one in findings if one["check"] == "store")
        assert server.another("status", "--json").returncode == 1
        lets_nobody_in_after_a_restart(server, key)
    with serving(server.settings) as again:  # the others ended in order, which brings the log into the file
        assert again.get("/v1/families").status_code == 401
        assert again.get("/v1/alerts", headers=key).status_code == 200
        assert again.get("/ready").status_code == 200


def lose_the_log(server: Server, key: dict[str, str], *gone: str) -> None:
    for suffix in gone:
        Path(f"{store_of(server.settings)}{suffix}").unlink()
    until(lambda: status(server, "/ready") == 503, "red")
    assert "log was deleted" in httpx.get(f"{server.url}/ready").json()["dependencies"]["store"]["detail"]
    assert status(server, "/v1/alerts", **key) == 503
    assert httpx.post(f"{server.url}/v1/feedback", json=EVENT, headers=key, timeout=60).status_code == 503
    assert status(server, "/v1/families") == 401


def lets_nobody_in_after_a_restart(server: Server, key: dict[str, str]) -> None:
    url, before = server.url, pid_of(server, "api")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: status(server, "/health", url=url) == 200 and pid_of(server, "api") != before, "another api")
    assert status(server, "/v1/families", url=url) == 503
    assert status(server, "/ready", url=url) == 503
    assert status(server, "/v1/families", url=url, **key) == 503


def status(server: Server, path: str, *, url: str | None = None, **headers: str) -> int:
    return httpx.get(f"{url or server.url}{path}", headers=headers, timeout=60).status_code


def test_a_store_that_lost_its_keys_lets_nobody_in(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with serving(settings) as world:
        world.add_key("app", "admin", secret="app")
        assert world.get("/v1/families").status_code == 401
        with closing(sqlite3.connect(store_of(settings))) as connection:
            connection.execute("DELETE FROM api_keys")
            connection.commit()
        until(lambda: world.get("/ready").status_code == 503, "red")
        assert world.get("/v1/families").status_code == 401
        assert world.get("/v1/families", headers={"X-API-Key": "app"}).status_code == 200, "as it knew them before"
    with serving(settings) as anew:
        assert anew.get("/v1/families").status_code == 503
        assert "no keys, and it had some" in anew.get("/ready").json()["dependencies"]["store"]["detail"]
        assert "no keys, and it had some" in detent("serve", env={"DETENT_HOME": str(settings.home)}).err
        Path(f"{store_of(settings)}.keyed").unlink()
        until(lambda: anew.get("/v1/families").status_code == 200, "as a person said")


def test_the_only_key_is_taken_back_while_another_process_reads_keys_for_the_first_time(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with serving(settings) as world:
        world.add_key("app", "admin", secret="app")
        another = wiring.open_store(settings)
        remove = world.shared.store.api_keys.remove

        def read_between(tx: Any, name: str) -> None:
            remove(tx, name)
            assert reading(another).api_keys.all()

        world.shared.store.api_keys.remove = read_between  # type: ignore[method-assign]
        remove_only_key("app", actor="ann", store=world.shared.store, clock=world.shared.clock, is_reachable=False)
        assert reading(another).api_keys.all() == []
        another.close()
        until(lambda: world.get("/v1/families").status_code == 200, "no key is needed")


def test_the_worker_ticks_without_the_file_of_workflows_and_has_studies_once_that_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_home(tmp_path)
    file, tick, ticks = settings.var() / "dbos.sqlite", worker.tick, list[object]()
    file.write_bytes(b"no database" * 500)
    monkeypatch.setattr(worker, "AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(worker, "tick", lambda *about: ticks.append(about) or tick(*about))

    def failing() -> list[str]:
        return [alert.subject for alert in reading(running._store).alerts.all(open_only=True, kind=worker.FAILED)]

    with running_worker(settings.model_copy(update={"tick_seconds": 0.2})) as running:
        until(lambda: failing() == ["studies"], "an alert")
        n_before = len(ticks)
        until(lambda: len(ticks) > n_before + 10, "ticks of two seconds, in which it is tried again")
        assert failing() == ["studies"]
        file.unlink()
        until(lambda: not failing(), "the alert's end")
        assert running._studies is not None


def test_a_worker_begins_though_the_disk_has_no_room_for_its_address_and_writes_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, announce, tries = make_home(tmp_path), run_files.announce, list[str]()

    def full_at_first(of: Settings, name: str, *more: Any) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        announce(of, name, *more)

    monkeypatch.setattr(run_files, "announce", full_at_first)
    with running_worker(settings):
        until(lambda: run_files.find(settings, "worker") is not None, "its address")
