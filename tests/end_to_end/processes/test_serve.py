"""``detent serve`` with real processes: ready, killed, started again, ended together.

MLflow is left out, a provider on loopback answers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from optimizer.host.config import load_settings
from optimizer.host.run_files import ProcessLock
from optimizer.ports import Alert
from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, until
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stand_ins.running_server import CHILDREN, Server, make_home
from tests.stand_ins.scripted_model import Provider, chat_answer, provider

HOOK = """
import sys

def note(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    with open(NOTED, "a") as out:
        out.write(f"{host} {event} {' '.join(sys.orig_argv[1:4])!r}\\n")

sys.addaudithook(note)
"""
HERE = ("127.0.0.1", "::1", "localhost", "b'127.0.0.1'", "b'localhost'", "None")


@pytest.fixture(scope="module")
def model() -> Iterator[Provider]:
    with provider() as made:
        made.answer = lambda body: (200, {}, json.dumps(chat_answer("payment")).encode())
        yield made


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every process of the server notes each connection that it opens from Python."""
    return tmp_path_factory.mktemp("hook") / "connections"


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.settimeout(PROCESSES_S)
        bound.bind(str(tmp_path_factory.mktemp("systemd") / "notify"))
        yield bound


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    model: Provider,
    noted: Path,
    new_mlflow: NewMlflow,
    systemd: socket.socket,
) -> Iterator[Server]:
    """Shared by the tests below, in their order; the last one kills it. Its port was taken when it started."""
    (noted.parent / "sitecustomize.py").write_text(f"NOTED = {str(noted)!r}\n{HOOK}", encoding="utf-8")
    home = make_home(tmp_path_factory.mktemp("serve") / "home", model.url, new_mlflow=new_mlflow)
    settings = load_settings(home=home)
    mask = os.umask(0o077)  # as of detent
    wiring.migrate_store(settings)
    os.umask(mask)
    store, now = wiring.open_store(settings), datetime.now(UTC)
    alert = Alert(id="al_1", kind="process_restarted", subject="api-9", level="warning", opened_at=now, detail="died")
    store.write(lambda tx: store.alerts.open(tx, alert))
    store.close()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", load_settings(home=home).port))
        taken.listen()
        environment = {"PYTHONPATH": str(noted.parent), "NOTIFY_SOCKET": systemd.getsockname()}
        made = Server(home, environment=environment, is_forked=False)
        try:
            made.wait_ready()
            yield made
        finally:
            made.end()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_taken_port_is_named_and_the_next_one_used(server: Server) -> None:
    wanted = load_settings(home=server.home).port
    assert not server.url.endswith(f":{wanted}")
    assert f"Port {wanted} is taken by" in server.told


def test_an_alert_of_a_process_that_is_started_no_more_is_over(server: Server) -> None:
    assert httpx.get(f"{server.url}/v1/alerts", timeout=60).json()["items"] == []
    assert restarted(server) == {"api-9"}


def test_systemd_is_told_once_api_and_worker_answer(server: Server, systemd: socket.socket) -> None:
    assert systemd.recv(100) == b"READY=1\nWATCHDOG=1"
    assert all(map(server.pid, CHILDREN))
    assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_second_server_and_a_second_worker_are_refused_and_told_who_is_there(server: Server) -> None:
    pids = server.wait_ready()
    second = server.detent("serve")
    assert second.code == 3
    assert f"pid {server.process.pid}" in second.err
    worker = server.detent("worker")
    assert worker.code == 3
    assert f"pid {pids['worker']}" in worker.err


def test_what_the_processes_write_is_for_their_user_alone(server: Server) -> None:
    server.wait_ready()
    written = [path for path in server.settings.var().rglob("*")]
    assert {"detent.db", "api.log", "unit.key"} <= {path.name for path in written}
    assert [str(path) for path in (server.settings.var(), *written) if path.lstat().st_mode & 0o077] == []
    server.settings.log_dir().chmod(0o755)
    server.settings.var().chmod(0o755)
    (server.settings.log_dir() / "api.log").chmod(0o644)
    try:
        found = {one["check"]: one for one in server.detent("doctor", "--json").json["findings"]}["private"]
        assert (found["verdict"], "var/logs/api.log" in found["detail"]) == ("warning", True)
        assert found["advice"].startswith("chmod -R go= ")
    finally:
        server.settings.var().chmod(0o700)


def test_each_killed_process_starts_again_at_the_same_address_and_an_alert_says_so(server: Server) -> None:
    """The worker too, which is killed in a study below."""
    first = server.wait_ready()
    url, killed = server.url, {"api", "gateway"}
    for name in killed:
        os.kill(first[name], signal.SIGKILL)
    assert httpx.get(f"{url}/health", timeout=60).status_code == 200, (
        "a request during the restart waits and is answered"
    )
    second = until(
        lambda: (now := server.wait_ready()) and all(now[name] != first[name] for name in killed) and now,
        "new processes",
        patience_s=PROCESSES_S,
    )
    assert server.url == url
    assert set(second) == set(first)
    assert wiring.loaded_models(server.settings) == wiring.open_models(server.settings).digests(), (
        "the gateway says what it has read"
    )
    assert second["worker"] == first["worker"]
    until(lambda: restarted(server) == {*killed, "api-9"}, "an alert about each", patience_s=PROCESSES_S)
    assert all(f"{name} (pid {first[name]}) was killed by signal 9" in server.told for name in killed)


def restarted(server: Server) -> set[str]:
    """Also where the alert is over, since the process has lived long enough since."""
    alerts = httpx.get(f"{server.url}/v1/alerts?open=false&limit=100", timeout=60).json()["items"]
    return {alert["subject"] for alert in alerts if alert["kind"] == "process_restarted"}


@pytest.mark.timeout(600)
def test_a_study_goes_on_by_itself_after_its_worker_was_killed_and_ticks_never_wait_for_it(
    server: Server, model: Provider
) -> None:
    """The journal answers what was asked before; at most the one call in flight is asked twice."""

    def slowly(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.1)
        return 200, {}, json.dumps(chat_answer("payment")).encode()

    model.answer = slowly
    server.wait_ready()
    examples = str(server.home / "families" / "support_topics" / "examples.jsonl")
    assert server.detent("import", examples, "--family", "support_topics", "--curated").code == 0
    ran = server.detent("study", "run", "support_topics", "--budget-calls", "80", "--no-follow", "--json")
    assert ran.code == 0, ran.err
    study = ran.json["study"]["id"]

    until(lambda: len(model.bodies) > 10, "10 calls", patience_s=PROCESSES_S)
    worker = server.pid("worker")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.pid("worker") not in (None, worker), "another worker", patience_s=PROCESSES_S)
    until(lambda: "worker" in restarted(server), "an alert about it", patience_s=PROCESSES_S)
    assert f"worker (pid {worker}) was killed by signal 9" in server.told
    before = _ticked_at(server)
    until(lambda: _ticked_at(server) > before, "a tick during the study", patience_s=PROCESSES_S)

    ended = until(
        lambda: (
            (s := httpx.get(f"{server.url}/v1/studies/{study}", timeout=30).json())["status"] in ("finished", "failed")
            and s
        ),
        "the study's end",
        patience_s=400,
    )
    assert ended["status"] == "finished", ended["error"]
    asked = [json.dumps(body, sort_keys=True) for body in model.bodies]
    assert len(asked) - len(set(asked)) <= 1


def test_the_service_connected_to_this_machine_only(server: Server, noted: Path) -> None:
    """All processes but MLflow, and the study above in workers with DSPy and Optuna loaded."""
    lines = noted.read_text(encoding="utf-8").splitlines()
    assert any("worker" in line for line in lines), "the worker's calls of the model are seen"
    assert [line for line in lines if line.split(" ")[0] not in HERE] == []


def _ticked_at(server: Server) -> str:
    return str(server.detent("status", "--json").json["last_tick_at"])


def test_everything_ends_when_the_supervisor_is_killed(server: Server) -> None:
    pids = server.wait_ready()
    server.process.kill()
    server.process.wait()
    until(lambda: all(map(gone, pids.values())), "the children's end", patience_s=PROCESSES_S)
    assert ProcessLock(server.settings.run_dir() / "serve").acquire(), "and the next server may start"
