"""Addresses, locks, ports and the rules of supervision."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from optimizer import processes
from optimizer.cli.service.serve import alarm_into
from optimizer.cli.session import Session
from optimizer.core.base.errors import Busy, Conflict, InvalidInput, Refused
from optimizer.host import run_files, user_homes
from optimizer.host.config import Api, Settings, load_settings
from optimizer.host.ports_in_use import SPREADS, BoundPort, is_loopback, listen, reachable_host
from optimizer.runtime import supervise
from optimizer.runtime.worker import Worker
from tests.cases import named
from tests.stores import new_database

HOLD = """
import sys, time
from pathlib import Path
from typing import Any
from optimizer.host.config import load_settings
from optimizer.host.run_files import ProcessLock
lock = ProcessLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
time.sleep(60)
"""

OTHER_USER = 65534
LISTEN = """
import os, socket, sys
port, user, *options = map(int, sys.argv[1:])
os.setuid(user)
bound = socket.socket()
for option in options:
    bound.setsockopt(socket.SOL_SOCKET, option, 1)
try:
    bound.bind(("127.0.0.1", port))
    bound.listen()
except OSError as error:
    print(type(error).__name__, error.errno)
else:
    print("listens")
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


def test_an_announced_process_is_found_until_it_withdraws(settings: Settings) -> None:
    run_files.announce(settings, "api", "http://127.0.0.1:1", profile="demo")
    found = run_files.find(settings, "api")
    assert (found.pid, found.url) == (os.getpid(), "http://127.0.0.1:1")
    assert run_files.note(settings, "api", "profile") == "demo"
    run_files.withdraw(settings, "api")
    assert run_files.find(settings, "api") is None


def test_a_process_that_was_started_by_hand_keeps_its_address_beside_a_server_until_it_ends(
    settings: Settings, supervised: Callable[..., supervise.Supervisor]
) -> None:
    with subprocess.Popen(["sleep", "60"]) as by_hand:
        run_files.write_whole(settings.run_dir() / "worker.json", {**run_files.start_of(by_hand.pid), "url": None})
        supervisor = supervised()
        supervisor.stop()
        supervisor.run()
        assert run_files.find(settings, "worker").pid == by_hand.pid
        by_hand.kill()
    run_files.withdraw(settings, "worker")
    assert not (settings.run_dir() / "worker.json").exists()


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere a start is announced as the clock said it once")
def test_a_process_is_found_after_the_clock_was_stepped_and_not_after_the_machine_began_anew(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    run_files.announce(settings, "api")
    user_homes.enter(settings.home)
    since, boot_time = run_files.find(settings, "api").since, psutil._psplatform.boot_time
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time() + 3600)
    assert settings.home in user_homes.running()
    assert run_files.find(settings, "api").since - since == timedelta(hours=1), "as the clock is now"
    monkeypatch.setattr(run_files, "BOOT_ID", tmp_path / "boot_id")
    run_files.BOOT_ID.write_text("another")
    assert settings.home not in user_homes.running()
    assert run_files.find(settings, "api") is None, "although pid and start are the same"


@named(
    "content",
    {
        "a pid that nobody has": '{"pid": 4194304, "url": "x"}',
        "a pid that went to somebody else": json.dumps({**run_files.start_of(os.getpid()), "url": "x", "created": 1.0}),
        "half a file": '{"pid": ',
        "no pid": "{}",
        "another value": "[]",
    },
)
def test_the_file_of_a_dead_process_counts_for_nothing(settings: Settings, content: str) -> None:
    settings.run_dir().mkdir(parents=True)
    (settings.run_dir() / "api.json").write_text(content)
    assert run_files.find(settings, "api") is None


def test_a_lock_is_held_by_one_process_named_to_others_and_free_after_a_kill(settings: Settings) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.var() / "worker")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(Refused, match=f"Another worker .*pid {holder.pid}"):
            run_files.ProcessLock(settings.var() / "worker").acquire_or_refuse("Another worker runs", "Wait.")
    finally:
        holder.kill()
        holder.wait()
    assert run_files.ProcessLock(settings.var() / "worker").acquire(timeout_s=10)


def test_a_store_has_one_worker_whichever_homes_name_it(settings: Settings, tmp_path: Path) -> None:
    here, there = (
        Worker(each) for each in (settings, load_settings(home=tmp_path / "b", database_url=settings.db_url()))
    )
    assert here._take_lock(False, None)
    with pytest.raises(Refused, match="Another worker serves this database"):
        there._take_lock(False, None)


def test_a_lock_is_given_back_by_whichever_thread_ends_its_work(settings: Settings) -> None:
    lock, after = run_files.ProcessLock(settings.var() / "worker"), run_files.ProcessLock(settings.var() / "worker")
    assert lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not lock.is_held()
    assert after.acquire()
    after.release()


@pytest.fixture
def port_of_workers() -> Iterator[BoundPort]:
    """Held for several, of which none has begun to listen."""
    if not SPREADS:
        pytest.skip("here the workers accept from one socket")
    made = listen("127.0.0.1", 0, "api").shared()
    yield made
    made.socket.close()


def told_who_listens_too(port: int, user: int, *options: int) -> str:
    given = map(str, (port, user, *options))
    command = [sys.executable, "-c", LISTEN, *given]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.parametrize(
    ("is_other", "options"),
    [
        pytest.param(False, (socket.SO_REUSEADDR,), id="a server of the same user"),
        pytest.param(True, (socket.SO_REUSEADDR,), id="of another user"),
        pytest.param(True, (socket.SO_REUSEPORT,), id="of another user who shares"),
        pytest.param(True, (socket.SO_REUSEADDR, socket.SO_REUSEPORT), id="of another user who shares and reuses"),
    ],
)
def test_no_other_process_takes_the_port_of_workers_before_they_listen_or_when_all_have_died(
    port_of_workers: BoundPort, is_other: bool, options: tuple[int, ...]
) -> None:
    if is_other and os.getuid() != 0:
        pytest.skip("only root can be another user")
    user, port = OTHER_USER if is_other else os.getuid(), port_of_workers.port
    refused = f"OSError {errno.EADDRINUSE}"
    assert told_who_listens_too(port, user, *options) == refused, "before they have sockets"
    with port_of_workers.of_one() as first, port_of_workers.of_one() as second:
        assert told_who_listens_too(port, user, *options) == refused, "before they listen"
        first.listen()
        second.listen()
        assert told_who_listens_too(port, user, *options) == refused, "while they listen"
    assert told_who_listens_too(port, user, *options) == refused, "after their death"
    with port_of_workers.of_one() as again:
        again.listen()
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_second_server_is_told_that_the_port_is_taken_while_workers_start(port_of_workers: BoundPort) -> None:
    second = listen("127.0.0.1", port_of_workers.port, "api")
    second.socket.close()
    assert second.port > port_of_workers.port
    assert f"Port {port_of_workers.port} is taken by" in second.notice


def test_workers_start_again_at_a_port_with_connections_that_ended_a_moment_ago(port_of_workers: BoundPort) -> None:
    """Of one process before, and of several."""
    port_of_workers.socket.close()
    port = port_of_workers.port
    for several_before in (False, True, True):
        holding = listen("127.0.0.1", port, "api")
        assert (holding.port, holding.notice) == (port, None)
        holding = holding.shared() if several_before else holding
        with holding.of_one() if several_before else holding.socket as bound:
            bound.listen()
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            accepted, _ = bound.accept()
            accepted.close()  # first, and so it is this side that waits out the end
            client.close()
        holding.socket.close()


def test_connections_are_spread_over_workers(port_of_workers: BoundPort) -> None:
    with port_of_workers.of_one() as first, port_of_workers.of_one() as second, ExitStack() as clients:
        for one in (first, second):
            one.listen(512)
            one.setblocking(False)
        for _ in range(200):
            clients.enter_context(socket.create_connection(("127.0.0.1", port_of_workers.port), timeout=5))
        counts = [n_waiting(one) for one in (first, second)]
    assert sum(counts) == 200
    assert min(counts) > 50, counts


def n_waiting(bound: socket.socket) -> int:
    n = 0
    while True:
        try:
            bound.accept()[0].close()
        except BlockingIOError:
            return n
        n += 1


def test_an_address_of_another_machine_is_a_conflict() -> None:
    with pytest.raises(Conflict, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 8321, "api")


@pytest.mark.parametrize(
    ("host", "loopback", "opened"),
    [
        ("127.0.0.1", True, "127.0.0.1"),
        ("localhost", True, "localhost"),
        ("::1", True, "[::1]"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("::", False, "[::1]"),
        ("10.0.0.5", False, "10.0.0.5"),
        ("example.org", False, "example.org"),
    ],
)
def test_hosts(host: str, loopback: bool, opened: str) -> None:
    assert (is_loopback(host), reachable_host(host)) == (loopback, opened)


def test_without_keys_only_this_machine_is_served() -> None:
    supervise.refuse_open_door("127.0.0.1", has_keys=False)
    supervise.refuse_open_door("0.0.0.0", has_keys=True)
    with pytest.raises(Refused, match="detent keys create"):
        supervise.refuse_open_door("0.0.0.0", has_keys=False)


def test_inner_parts_of_uvicorn_are_used_in_one_module_of_200_lines() -> None:
    root = Path(__file__).parents[3]
    inner = re.compile(r"uvicorn\.\w+\.|server_state|def on_tick")
    modules = [file for room in ("api", "optimizer") for file in (root / room).rglob("*.py")]
    using = [file.relative_to(root) for file in modules if inner.search(file.read_text(encoding="utf-8"))]
    assert using == [Path("api/http/connections.py")]
    assert len((root / using[0]).read_text(encoding="utf-8").splitlines()) <= 200


def test_another_version_of_uvicorn_is_refused_with_the_command_that_mends_it() -> None:
    supervise.refuse_other_uvicorn(version("uvicorn"))
    with pytest.raises(Refused, match=r"0\.55\.1 is installed here.* 'uvicorn==0\.54\.\*'"):
        supervise.refuse_other_uvicorn("0.55.1")
    major, minor = supervise.UVICORN.split(".")
    bounds = f"uvicorn>={major}.{minor},<{major}.{int(minor) + 1}"
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert bounds in project["project"]["dependencies"]


def test_waits_between_restarts_double_up_to_a_limit_and_begin_anew_after_a_stable_run() -> None:
    waits = [supervise.FIRST_WAIT_S]
    for _ in range(10):
        waits.append(supervise.next_wait_s(waits[-1], lived_s=1.0, longest_s=30.0))
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == 30.0
    assert supervise.next_wait_s(waits[-1], lived_s=supervise.STABLE_AFTER_S, longest_s=30.0) == supervise.FIRST_WAIT_S


@pytest.fixture
def supervised(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., supervise.Supervisor]:
    """Of children that end at once, in place of the real ones: what happens around them is the same."""
    settings.log_dir().mkdir(parents=True)
    monkeypatch.setattr(supervise, "sys", type("Sys", (), {"executable": "/bin/false"}))
    monkeypatch.setattr(supervise, "TURN_WAIT_S", 0.0)
    monkeypatch.setattr(supervise, "NEWS_S", 0.0)

    def make(**options: Any) -> supervise.Supervisor:
        ports, api = {"port": 0, "mlflow_port": 0}, Api(workers=options.pop("workers", 1))
        profile = options.pop("profile", settings.profile)
        quiet = settings.model_copy(update={**ports, "api": api, "profile": profile})
        silent = {"report": lambda text: None, "alarm": lambda name, text: None, "mlflow": False}
        return supervise.Supervisor(quiet, **{**silent, **options})

    return make


@pytest.mark.parametrize(("served", "then"), [("prod", "prod"), ("demo", "dev")])
def test_commands_keep_to_the_profile_of_the_server_after_it_has_ended_but_to_no_clock_that_runs_ahead(
    settings: Settings,
    supervised: Callable[..., supervise.Supervisor],
    monkeypatch: pytest.MonkeyPatch,
    served: str,
    then: str,
) -> None:
    """Else a freeze at night might go to another store than the one that is served."""
    supervisor = supervised(profile=served)
    supervisor.stop()
    supervisor.run()
    assert run_files.find(settings, "serve") is None
    assert Session(settings.home).settings.profile == then
    monkeypatch.setenv("DETENT_PROFILE", "staging")
    assert Session(settings.home).settings.profile == "staging"


def test_an_address_left_by_a_machine_that_stopped_is_gone_before_the_first_process_starts(
    settings: Settings, supervised: Callable[..., supervise.Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may listen there by now, and would be sent users' bodies and keys."""
    left = [settings.run_dir() / f"{name}.json" for name in ("feedback", "gateway")]
    for file in left:
        run_files.write_whole(file, {"pid": 1, "created": 0.0, "url": "http://127.0.0.1:9"})
    found: list[bool] = []

    def start(child: supervise.Child) -> None:
        found.extend(file.exists() for file in left)
        supervisor.stop()
        raise OSError("not now")

    supervisor = supervised()
    monkeypatch.setattr(supervisor, "_start", start)
    supervisor.run()
    assert found
    assert not any(found)


def test_what_a_child_wrote_to_its_output_is_moved_aside_once_it_is_long(
    settings: Settings, supervised: Callable[..., supervise.Supervisor]
) -> None:
    output = settings.log_dir() / "gateway.out"
    with output.open("wb") as file:
        file.truncate(101 * 1024 * 1024)  # takes no room on the disk
    supervisor = supervised(report=lambda sentence: supervisor.stop())
    supervisor.run()
    assert (output.stat().st_size, output.with_name("gateway.out.1").exists()) == (0, True)


@pytest.mark.skipif(not SPREADS, reason="here the workers accept from one socket")
def test_a_child_that_cannot_be_started_is_alarmed_and_tried_again(supervised, monkeypatch):
    told: list[str] = []
    alarms: list[tuple[str, str]] = []
    of_one, n_asked = BoundPort.of_one, 0

    def of_one_from_the_third_on(listening: BoundPort) -> socket.socket:
        nonlocal n_asked
        n_asked += 1
        if n_asked < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return of_one(listening)

    def stop_after_restarts(sentence: str) -> None:
        told.append(sentence)
        ended = {t.partition(" (pid ")[0] for t in told if "exit code 1" in t}
        if len(told) >= 4 and {"api", "api-2"} <= ended:
            supervisor.stop()

    monkeypatch.setattr(BoundPort, "of_one", of_one_from_the_third_on)
    supervisor = supervised(report=stop_after_restarts, alarm=lambda name, text: alarms.append((name, text)), workers=2)
    supervisor.run()
    for name in ("api", "api-2"):
        why = f"{name} could not be started: [Errno 24] Too many open files; it starts again in 0.5 s"
        assert any(sentence.startswith(why) for sentence in told)
        assert any(name == which and text.startswith(why) for which, text in alarms)
        assert any(name == which and text and why.startswith(text) for _, which, text in supervisor._restarts)
        assert any(t.startswith(f"{name} (pid ") and "exit code 1" in t for t in told), "then it was started"


def test_a_fault_in_what_is_only_told_ends_no_server(supervised: Callable[..., supervise.Supervisor]) -> None:
    n_asked = 0

    def broken() -> list[str]:
        nonlocal n_asked
        n_asked += 1
        if n_asked == 2:
            supervisor.stop()
        raise RuntimeError("the store has no such table")

    supervisor = supervised(news=broken)
    supervisor.run()
    assert n_asked == 2, "it went on after the first"


def test_a_store_that_is_locked_holds_up_no_restart(supervised: Callable[..., supervise.Supervisor]) -> None:
    released, told, is_over = threading.Event(), list[str](), list[bool]()

    def stop_after_restarts(sentence: str) -> None:
        told.append(sentence)
        if sum("worker (pid " in sentence for sentence in told) == 2:
            supervisor.stop()
            released.set()

    supervisor = supervised(
        report=stop_after_restarts, alarm=lambda name, text: is_over.append(released.wait(supervise.END_WAIT_S))
    )
    supervisor.run()
    assert is_over[0], "the worker was started again while the first alert waited"


@pytest.mark.parametrize("lives", [False, True], ids=["opened", "closed"])
def test_an_alert_is_opened_and_one_of_a_server_before_closed_though_the_store_is_locked_at_first(
    supervised: Callable[..., supervise.Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    database, looks = new_database(tmp_path), iter(range(50))
    write, locked = database.write, [Busy("The store is locked.")] * 2

    def locked_at_first(*about: Any) -> Any:
        if locked:
            raise locked.pop()
        return write(*about)

    def details() -> list[str]:
        with database.read() as tx:
            return [alert.detail for alert in database.alerts.all(tx, open_only=True) if alert.subject == "api"]

    def stop_once_written() -> list[str]:
        if (not locked and bool(details()) is not lives) or next(looks, None) is None:
            supervisor.stop()
        return []

    if lives:
        program = tmp_path / "python"
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o700)
        monkeypatch.setattr(supervise, "sys", SimpleNamespace(executable=str(program)))
        monkeypatch.setattr(supervise, "STABLE_AFTER_S", 0.0)
        monkeypatch.setattr(
            run_files, "find", lambda settings, name: SimpleNamespace(pid=supervisor.pids().get(name), url=None)
        )
        alarm_into(database)("api", "It ended.")
    monkeypatch.setattr(database, "write", locked_at_first)
    supervisor = supervised(alarm=alarm_into(database), news=stop_once_written)
    supervisor.run()
    assert ["starts again in 0.5 s" in detail for detail in details()] == [True] * (not lives), "of the first death"
    database.close()


def test_the_listening_socket_outlives_the_process_behind_it(supervised: Callable[..., supervise.Supervisor]) -> None:
    """A client that connects while the api starts again waits instead of being refused."""
    supervisor = supervised()
    port = int(str(supervisor.url("api")).rsplit(":", 1)[1])
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    supervisor.stop()
    supervisor.run()


def test_an_address_whose_process_was_ended_refuses_clients_while_others_still_end(supervised, tmp_path, monkeypatch):
    """Nothing would ever accept them, and they would wait for seconds to be broken off."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\ncase "$*" in *worker*) trap "" TERM ;; esac\nexec sleep 60\n')
    program.chmod(0o700)
    monkeypatch.setattr(supervise, "sys", type("Sys", (), {"executable": str(program)}))
    monkeypatch.setattr(supervise, "END_WAIT_S", 0.5)

    def end_once_all_run() -> list[str]:
        if {"api", "worker"} <= supervisor.pids().keys():
            supervisor.stop()
        return []

    supervisor = supervised(news=end_once_all_run)
    port = int(str(supervisor.url("api")).rsplit(":", 1)[1])
    kill_all, found = supervisor._kill_all, []

    def look_and_kill_all() -> None:
        found.append((socket.socket().connect_ex(("127.0.0.1", port)), "worker" in supervisor.pids()))
        kill_all()

    monkeypatch.setattr(supervisor, "_kill_all", look_and_kill_all)
    supervisor.run()
    assert found == [(errno.ECONNREFUSED, True)]


def test_whether_feedback_has_a_process_is_what_the_server_that_runs_was_told(settings: Settings) -> None:
    without = settings.model_copy(update={"api": Api(feedback_process=False)})
    assert run_files.feedback_names_running(settings) == ("feedback",)
    assert run_files.feedback_names_running(without) == ()
    run_files.announce(without, "serve", feedback_process=False)
    assert run_files.feedback_names_running(settings) == ()
    run_files.announce(settings, "serve", feedback_process=True)
    assert run_files.feedback_names_running(without) == ("feedback",)


def test_an_option_that_cannot_be_used_is_not_blamed_on_files_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="They come from options of the command, from the environment"):
        load_settings(home=tmp_path, api={"workers": 65})


def test_what_a_process_has_loaded_is_out_of_the_collectors_sight_once_it_has_started() -> None:
    loaded = [{"one": [number]} for number in range(100)]
    gc.disable()
    try:
        processes._set_aside()
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(loaded)
        assert not any(one is loaded for one in gc.get_objects())
    finally:
        gc.enable()
        gc.unfreeze()
