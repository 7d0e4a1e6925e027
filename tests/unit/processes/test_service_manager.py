"""What systemd hears of ``detent serve``: ready and alive while api and worker answer, and nothing else."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from optimizer.runtime import service_manager
from optimizer.runtime.service_manager import ServiceManager, answers
from tests.clock import until
from tests.stand_ins.local_server import local_server

STORE = {"ok": True, "busy": False}
TICKS = {"ok": True, "last_tick_age_s": 3.0}
SILENT = {"ok": False, "last_tick_age_s": 40.0}


class Api(BaseHTTPRequestHandler):
    store: dict[str, Any]
    worker: dict[str, Any]
    n_asked = 0

    def do_GET(self) -> None:
        type(self).n_asked += 1
        body = json.dumps({"dependencies": {"store": self.store, "worker": self.worker}}).encode()
        self.send_response(200 if self.store["ok"] else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def api() -> Iterator[tuple[str, type[Api]]]:
    class One(Api):
        store, worker = STORE, TICKS

    with local_server(One) as url:
        yield url, One


@pytest.fixture(params=["path", "abstract"])
def listener(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.setblocking(False)
        address = str(tmp_path / "notify") if request.param == "path" else f"@detent-{tmp_path}"
        bound.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        yield bound, address


def heard(bound: socket.socket) -> str | None:
    try:
        return bound.recv(4096).decode()
    except BlockingIOError:
        return None


def test_it_is_ready_once_and_alive_while_api_and_worker_answer(api, listener, monkeypatch):
    monkeypatch.setattr(service_manager, "LOOK_S", 0.01)
    url, served = api
    bound, address = listener
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000", "WATCHDOG_PID": "1", "HOME": "/srv"}
    manager = ServiceManager.of_environment(environment)
    assert environment == {"HOME": "/srv"}, "a child would speak for its parent"

    def next_heard() -> str | None:
        manager.look(url)
        return heard(bound)

    served.worker = {"ok": False, "last_tick_age_s": None}  # it starts
    until(lambda: next_heard() or served.n_asked > 2)
    assert heard(bound) is None
    served.worker = TICKS
    assert [until(next_heard) for _ in range(3)] == ["READY=1\nWATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
    served.worker = SILENT
    before = served.n_asked
    until(lambda: next_heard() is None and served.n_asked > before + 2)
    after = served.n_asked
    assert not until(lambda: next_heard() or (served.n_asked > after + 2 and "nothing")).startswith("W")
    served.worker = TICKS
    assert until(next_heard) == "WATCHDOG=1"
    manager.tell("STOPPING=1")
    assert "STOPPING=1" in (heard(bound), heard(bound))


def test_a_service_manager_that_reads_nothing_holds_up_nobody_and_hears_later_that_the_service_is_ready(
    api: tuple[str, type[Api]], listener: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_manager, "LOOK_S", 0.01)
    url, served = api
    bound, address = listener
    manager = ServiceManager(address)
    n_kept = 0
    while manager.tell("STATUS=waits"):
        n_kept += 1
    until(lambda: manager.look(url) or served.n_asked > 2)
    assert {heard(bound) for _ in range(n_kept)} == {"STATUS=waits"}
    assert until(lambda: manager.look(url) or heard(bound)) == "READY=1\nWATCHDOG=1"


@pytest.mark.parametrize(
    ("store", "worker", "counts"),
    [
        pytest.param(STORE, TICKS, True, id="all well"),
        pytest.param(STORE, SILENT, False, id="a worker that hangs"),
        pytest.param(STORE, {"ok": False, "last_tick_age_s": None}, False, id="a worker that never ticked"),
        pytest.param({"ok": False, "busy": False}, SILENT, True, id="a store that cannot be written"),
        pytest.param({"ok": True, "busy": True}, SILENT, True, id="a locked store"),
        pytest.param(STORE, {"ok": False, "last_tick_age_s": -60.0}, True, id="a clock that was set back"),
    ],
)
def test_a_restart_is_asked_for_only_where_it_can_mend_something(api, store, worker, counts):
    url, served = api
    served.store, served.worker = store, worker
    assert answers(url) is counts


def test_an_api_that_takes_no_request_or_never_answers_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        assert not answers(address)
    assert not answers(address), "nobody listens"


def test_a_supervisor_that_may_open_no_socket_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    assert not ServiceManager("@detent-nobody").tell("STOPPING=1")


def test_without_systemd_nothing_is_asked() -> None:
    assert ServiceManager.of_environment({}) is None
