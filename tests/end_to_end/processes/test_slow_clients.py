"""Clients that are slow on purpose, against the api process of an installation and over raw sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from optimizer.core.serving.access import access_of, hash_of
from optimizer.host.config import ServerLimits, Settings, load_settings
from optimizer.host.run_files import find
from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, until
from tests.forked import Forked
from tests.stores import migrate_store
from tests.worlds.api_world import FAMILY

EVENT = {"family": "triage", "unit": "u", "output": "billing"}
PROMPT = "/v1/families/triage/prompt?unit=u1"
PATIENT: dict[str, float] = {"header_seconds": 600, "body_seconds": 600, "idle_seconds": 600, "stalled_seconds": 600}
CONNECTIONS = 80  # of one address: those that a test left may be closed when the next one has begun
HASTY: dict[str, float] = {"header_seconds": 0.4, "body_seconds": 0.4, "idle_seconds": 0.4, "stalled_seconds": 0.4}


class Api:
    """The api process alone, as ``detent serve`` starts it."""

    def __init__(self, home: Path, limits: dict[str, Any]) -> None:
        (home / "families" / "triage").mkdir(parents=True)
        (home / "families" / "triage" / "family.yaml").write_text(FAMILY)
        (home / "config").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (home / "config" / "dev.yaml").write_text(json.dumps({"port": self.port, "limits": limits}))
        self.settings: Settings = load_settings("dev", home)
        migrate_store(self.settings)
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETENT_")} | {"DETENT_HOME": str(home)}
        command = [sys.executable, "-m", "optimizer.processes", "api"]
        self.process = Forked(command, env=environment, stdin=subprocess.PIPE)
        until(
            lambda: find(self.settings, "api") and httpx.get(f"{self.url}/ready").status_code == 200,
            "the api",
            patience_s=PROCESSES_S,
        )

    def connect(self, text: str = "") -> socket.socket:
        """A connection on which this much was sent; whoever waits longer than a minute on it has failed."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        made.sendall(text.replace("Host: 127.0.0.1\r\n", f"Host: 127.0.0.1:{self.port}\r\n").encode())
        return made

    def announce(self, n_bytes: int, sent: str = "[", key: str = "") -> socket.socket:
        """A body of so many bytes of which ``sent`` has come: the server is reading it when this returns."""
        asks = "Expect: 100-continue\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "")
        head = (
            f"POST /v1/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{asks}Content-Length:"
            f" {n_bytes}\r\n\r\n"
        )
        made = self.connect(head)
        assert b"100 Continue" in made.recv(1000)
        made.sendall(sent.encode())
        return made

    def add_key(self, name: str) -> None:
        store = wiring.open_store(self.settings)
        now = datetime.now(UTC)
        store.write(lambda tx: store.api_keys.add(tx, name, access_of(["feedback"], now=now), hash_of(name), now))
        store.close()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def serving(folder: Path, **limits: Any) -> Iterator[Api]:
    made = Api(folder, limits)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("patient"), **PATIENT, connections_per_address=CONNECTIONS) as api:
        yield api


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("hasty"), **HASTY) as api:
        yield api


def rest_of(connection: socket.socket) -> bytes:
    """What still comes until the server closes."""
    came = b""
    with connection:
        while piece := connection.recv(65536):
            came += piece
    return came


def test_eight_bodies_that_do_not_come_stop_no_feedback(patient: Api) -> None:
    with ExitStack() as slow:
        for _ in range(8):
            slow.enter_context(patient.announce(ServerLimits().events_bytes))
        assert httpx.post(f"{patient.url}/v1/feedback", json=EVENT).json()["accepted"] == 1


def test_an_address_has_so_many_connections_and_others_close_before_it_gets_more(patient: Api) -> None:
    with ExitStack() as idle:
        for _ in range(CONNECTIONS):
            idle.enter_context(patient.connect())
        refused = rest_of(patient.connect("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"connections_per_address" in refused
    assert until(
        lambda: rest_of(patient.connect("GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")).startswith(b"HTTP/1.1 200"),
        "a place",
        patience_s=PROCESSES_S,
    )


HALVES = [
    pytest.param("", b"408", id="nothing"),
    pytest.param("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b", b"408", id="half a header"),
    pytest.param("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"200", id="idle after an answer"),
    pytest.param("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /h", b"200", id="half of a second request"),
    pytest.param(
        "POST /v1/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[",
        b"408",
        id="half a body",
    ),
    pytest.param(
        "POST /v1/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding:"
        " chunked\r\n\r\n1\r\n[\r\n",
        b"408",
        id="chunks without an end",
    ),
]


@pytest.mark.parametrize(("sent", "status"), HALVES)
def test_a_half_open_connection_is_closed_after_its_time(hasty: Api, sent: str, status: bytes) -> None:
    came = rest_of(hasty.connect(sent))
    assert b"HTTP/1.1 " + status in came
    if status == b"408":
        head, body = came.rsplit(b"\r\n\r\n", 1)
        problem = json.loads(body)
        assert problem["type"] == "/problems/too-slow"
        assert b"\r\nx-request-id: " + problem["request_id"].encode() + b"\r\n" in head


def test_five_hundred_half_open_connections_are_all_closed(hasty: Api) -> None:
    connections = [hasty.connect("GET /health HTTP/1.1\r\nX-A: ") for _ in range(500)]
    assert all(b"HTTP/1.1 408" in rest_of(connection) for connection in connections)
    assert httpx.get(f"{hasty.url}/health").status_code == 200


@pytest.mark.parametrize("path", ["/v1/feedback", "/x"])
def test_trailers_without_an_end_are_refused_before_they_fill_memory(patient: Api, path: str) -> None:
    """Where the request is refused for another reason, that answer may be on its way first."""
    refusals = [b"431", b"404"] if path == "/x" else [b"431"]
    api = psutil.Process(patient.process.pid)
    before, trailers = api.memory_info().rss, b"a:b\r\n" * 10_000
    framing = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    with patient.connect(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}") as sender:
        with suppress(OSError):  # the server takes no more
            for _ in range(400):
                sender.sendall(trailers)
        with suppress(ConnectionResetError):
            assert sender.recv(1000).split()[1] in refusals
        assert api.memory_info().rss - before < 50_000_000


@pytest.mark.parametrize("path", ["/x", "/openapi.json"])
def test_requests_sent_one_behind_the_other_take_no_memory_and_hold_up_nobody(patient: Api, path: str) -> None:
    api = psutil.Process(patient.process.pid)
    before = api.memory_info().rss
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{patient.port}\r\n\r\n"
    with ExitStack() as unread:
        for _ in range(30):
            unread.enter_context(patient.connect(request * (262_144 // len(request))))
        for _ in range(5):
            assert httpx.get(patient.url + PROMPT).status_code == 200
        assert api.memory_info().rss - before < 100_000_000


@pytest.mark.parametrize("declared", [True, False])
def test_who_sends_a_refused_body_to_its_end_still_reads_the_refusal(patient: Api, declared: bool) -> None:
    n_bytes = 2 * ServerLimits().events_bytes
    framing = f"Content-Length: {n_bytes}" if declared else "Transfer-Encoding: chunked"
    head = f"POST /v1/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    with patient.connect(head if declared else f"{head}{n_bytes:x}\r\n") as connection:
        if declared:
            connection.recv(1, socket.MSG_PEEK)  # the refusal is there before any of the body is sent
        for _ in range(n_bytes // 65_536):
            connection.sendall(b" " * 65_536)
        refused = rest_of(connection)
    assert refused.startswith(b"HTTP/1.1 413")
    assert b"\r\nconnection: close\r\n" in refused.lower()


def test_one_key_s_bodies_leave_room_for_those_of_another(tmp_path: Path) -> None:
    with serving(tmp_path, **PATIENT, held_bytes=10_000, held_bytes_per_sender=6_000) as api:
        for name in ("greedy", "modest"):
            api.add_key(name)

        def send(key: str) -> int:
            event = {**EVENT, "output": "x" * 3000}
            return httpx.post(
                f"{api.url}/v1/feedback", json=event, headers={"Authorization": f"Bearer {key}"}
            ).status_code

        # In this order: what an answered body held is given back a moment later, and another request takes longer.
        until(lambda: send("greedy") == 200 and send("modest") == 200, "the keys", patience_s=PROCESSES_S)
        with api.announce(6000, "[" + " " * 5000, key="greedy"):
            until(lambda: send("greedy") == 429, "the bytes of the slow body to arrive", patience_s=PROCESSES_S)
            until(lambda: send("modest") == 200, "the refused body to be let go")
        until(lambda: send("greedy") == 200, "the slow body to be given up", patience_s=PROCESSES_S)
