"""Threads, forks and the end of a program."""

from __future__ import annotations

import ast
import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from detent_client import Client

CLIENT = Path(__file__).parents[1]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "detent-client"]


@pytest.mark.parametrize(("url", "key"), [("http://detent.test", "schlüssel"), ("http://detent.test:port", "key")])
def test_an_address_or_key_that_no_request_can_carry_is_told_and_the_fallback_is_served_at_once(url, key, until):
    client = Client(url, key, fallback={"triage": "Own"}, timeout=20.0)
    began = time.monotonic()
    assert client.prompt("triage").role == "fallback"
    assert time.monotonic() - began < 10
    assert client.status().failure in ("UnicodeEncodeError", "InvalidURL")
    client.close()
    until(lambda: not threads())  # those of tests before may still be ending


def test_no_thread_runs_before_the_first_use_and_none_after_the_end(server, until) -> None:
    until(lambda: not threads())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    client = server.client()
    client.status()
    assert threads() == []
    client.decide("triage")
    assert threads() == ["detent-client"] * 2
    client.close()
    assert threads() == []
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_client_that_is_forgotten_takes_its_thread_along(server, until) -> None:
    client = server.client()
    client.prompt("triage", message="x").record("y")
    del client
    gc.collect()
    until(lambda: not threads())
    assert len(server.events) == 1


def test_a_client_is_forgotten_without_waiting_for_a_lock(server, until) -> None:
    clients = [server.client()]
    clients[0].prompt("triage", message="x").record("y")
    background = clients[0]._session.background
    forgets = threading.Thread(target=clients.clear, daemon=True)
    with background.outbox._lock, background.exposures._lock:  # as the thread may hold them that collects garbage
        forgets.start()
        forgets.join(20)
        assert not forgets.is_alive()
    until(lambda: not threads())
    assert len(server.events) == 1


def test_after_its_end_a_client_goes_on_deciding_and_counts_what_it_drops(server) -> None:
    client = server.client(fallback={"triage": "Own"})
    client.decide("triage")
    client.close()
    client.prompt("triage", message="x").record("y")
    assert (client.decide("triage").role, client.status().events_dropped) == ("champion", 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_with_empty_buffers_another_name_and_a_thread_of_its_own(server, stopped) -> None:
    with server.client(fallback={"triage": "Own"}) as client:
        assert client.decide("triage").role == "champion"
        server.fault = stopped
        for _ in range(3):
            client.prompt("triage", message="x").record("y")
        name = client.status().client
        child = os.fork()
        if child == 0:
            faults = 0
            try:
                status = client.status()
                server.fault, server.events, server.windows = lambda request: None, [], {}
                faults |= (status.events_waiting, status.exposures_waiting) != (0, 0)
                faults |= (status.client == name) << 1
                faults |= (client.prompt("triage", message="x").role != "champion") << 2
                client.prompt("triage", message="x").record("y")
                faults |= (not client.flush(10)) << 3
                faults |= ((len(server.events), server.n_exposed) != (1, 2)) << 4
            except BaseException:
                faults = 64
            os._exit(faults)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert (client.status().client, client.status().events_waiting) == (name, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_that_was_idle_for_long_serves_what_the_server_says_now(server, served) -> None:
    with server.client() as client:
        assert client.decide("triage").variant.id == "v_champion"
        child = os.fork()
        if child == 0:
            is_old = True
            with contextlib.suppress(BaseException):
                time.sleep(0.5)  # many times ``refresh``
                server.families = {"triage": {"champion": served("New {{message}}", id="v_new")}}
                server.fault = lambda request: time.sleep(0.2)
                is_old = client.decide("triage").variant.id != "v_new"
            os._exit(is_old)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0


class TakesEvents(BaseHTTPRequestHandler):
    bodies: list[bytes] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self._answer(b'{"families": {}}')

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self._answer(b'{"accepted": 1, "duplicates": 0, "rejected": []}')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    listening = ThreadingHTTPServer(("127.0.0.1", 0), TakesEvents)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()


def ended(address: str, says: str) -> subprocess.CompletedProcess[str]:
    """A program that records something last."""
    program = (
        "from detent_client import Client\n"
        f"client = Client({address!r}, fallback={{'triage': 'Own'}})\n"
        f"client.prompt('triage').record({says!r})\n"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=CLIENT, capture_output=True, text=True, timeout=60)


def test_a_program_that_ends_sends_what_waits(address: str) -> None:
    began = time.monotonic()
    done = ended(address, "the last answer")
    assert (done.returncode, done.stdout, done.stderr.count("Traceback")) == (0, "", 0)
    assert any(b"the last answer" in body for body in TakesEvents.bodies)
    assert time.monotonic() - began < 30


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_process_of_multiprocessing_sends_what_waits_when_it_ends(address: str) -> None:
    client = Client(address, fallback={"triage": "Own"})

    def work() -> None:
        client.prompt("triage").record("a worker's last answer")

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert any(b"a worker's last answer" in body for body in TakesEvents.bodies)


def test_a_program_that_ends_while_the_server_is_away_is_not_held_up() -> None:
    done = ended("http://127.0.0.1:9", "x")
    assert done.returncode == 0
    assert "1 events and 0 exposures that were not sent" in done.stderr


def test_what_was_not_sent_when_a_client_ends_counts_as_dropped(server, stopped) -> None:
    client = server.client()
    client.decide("triage")
    server.fault = stopped
    client.prompt("triage", message="x").record("y")
    client.close()
    status = client.status()
    assert (status.events_waiting, status.events_dropped) == (0, 1)
    assert status.exposures_waiting == 0
    assert 1 <= status.exposures_dropped <= 2


def test_the_client_s_requests_are_not_logged_each(server, caplog) -> None:
    with caplog.at_level("INFO"), server.client() as client:
        client.decide("triage")
        client.flush()
    assert caplog.text == ""


def lines_of_code(source: str) -> int:
    """Without blank lines, comments and docstrings."""
    tree = ast.parse(source)
    told = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for n, line in lines if line.strip() and not line.strip().startswith("#") and n not in told)


@pytest.mark.parametrize(("folder", "most"), [("", 1500), ("notebook", 500)])  # what serves, and what a person asks
def test_the_package_stays_small(folder: str, most: int) -> None:
    files = list((CLIENT / "detent_client" / folder).glob("*.py"))
    assert most / 3 < sum(lines_of_code(file.read_text(encoding="utf-8")) for file in files) < most
