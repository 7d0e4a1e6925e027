"""The client beside ``detent serve`` whose processes stop, start again, are slow or lie: the application answers,
nobody gets a candidate that nothing watches, and of what is reported nothing is lost unseen.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from detent_client import Client
from tests.clock import PROCESSES_S, until
from tests.stand_ins.local_server import local_server
from tests.stand_ins.running_server import Server, make_home, started

F = "support_topics"
SHARES = [0.5, 0.75]
PROFILE = {
    "lease_seconds": 60,
    "limits": {"operator_per_minute": 1000},
    "family_overrides": {"rollout": {"ladder": SHARES}},
}
FALLBACK = {F: "Own {{message}}"}
HOUR_S = 3600.0
UNITS = [f"u{n}" for n in range(40)]
REFRESH_S = 0.1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("faults") / "home", "http://127.0.0.1:9", profile=PROFILE)


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    """Shared by the tests that leave it running. No model is called."""
    with started(home) as running:
        yield running


@pytest.fixture
def rollout(server: Server) -> Iterator[dict[str, Any]]:
    """At its first stage, and watched; rolled back afterwards."""
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http:
        new = deploying(http)
        yield new
        http.post(f"/v1/rollouts/{new['id']}/rollback", json={"reason": "the test is over"})


def deploying(http: httpx.Client) -> dict[str, Any]:
    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    ask("POST", "/v1/interactions", {"family": F, "unit": "before", "latency_ms": 100.0, "cost_usd": 0.001})
    draft = {"messages": [{"role": "user", "content": f"Topic? {time.monotonic_ns()} {{{{message}}}}"}], "note": "new"}
    variant = ask("POST", f"/v1/families/{F}/variants", draft)["variant"]
    wanted = {"variant": variant, "confirm": F, "reason": "a try"}
    id = ask("POST", f"/v1/families/{F}/rollouts", wanted)["id"]
    ask("POST", f"/v1/rollouts/{id}/approve", {"reason": "go"})
    return until(
        lambda: (now := ask("GET", f"/v1/rollouts/{id}"))["status"] == "deploying" and now,
        "the first stage",
        patience_s=PROCESSES_S,
    )


def hear(client: Client, rollout: dict[str, Any]) -> dict[str, str]:
    """Each unit's role, once the client knows the rollout."""
    until(lambda: client.decide(F, "u0", count=False).rollout == rollout["id"], "the client to hear")
    roles = roles_of(client)
    assert set(roles.values()) == {"champion", "candidate"}
    return roles


def roles_of(client: Client) -> dict[str, str]:
    return {unit: client.decide(F, unit, count=False).role for unit in UNITS}


def use(client: Client, unit: str, name: str) -> None:
    """As an application does: a prompt, its answer, its outcome."""
    with client.prompt(F, unit=unit, message="x") as p:
        p.record("billing")
    client.feedback(p, success=True, id=name)


def outcomes(home: Path, prefix: str) -> Counter[tuple[str | None, str | None]]:
    """How many there are on disk, by variant and rollout; an id of an application's own begins with the prefix."""
    return _on_disk(home, "SELECT variant, rollout FROM feedback_events WHERE id LIKE ?", f"{prefix}%")


def _on_disk(home: Path, query: str, *values: str) -> Counter[Any]:
    with closing(sqlite3.connect(home / "var" / "detent.db")) as connection:
        return Counter(connection.execute(query, values).fetchall())


@dataclass
class Relay:
    """Between client and server. ``fault`` answers in the server's place, where it gives True."""

    url: str = ""
    fault: Callable[[BaseHTTPRequestHandler], bool] = lambda handler: False
    n_faults: int = 0
    goes_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def relay_to(server: Server) -> Iterator[Relay]:
    relay = Relay()

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if relay.fault(self):
                relay.n_faults += 1
                return
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            answer = httpx.request(
                self.command, server.url + self.path, headers=kept, content=body, timeout=60, trust_env=False
            )
            names = ("date", "etag", "x-detent-leases", "content-type", "retry-after")
            send(self, answer.status_code, answer.content, {n: answer.headers[n] for n in names if n in answer.headers})

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with local_server(Passing) as url:
        relay.url = url
        try:
            yield relay
        finally:
            relay.goes_on.set()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str], n: int = 0) -> None:
    """``n``: the length that is announced, where it is another one."""
    handler.send_response_only(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    if status != 304:
        handler.send_header("content-length", str(n or len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def is_cut(handler: BaseHTTPRequestHandler) -> bool:
    send(handler, 200, b'{"families": {"support_topics": {"champ', {}, n=5000)
    handler.close_connection = True
    return True


def is_gone(handler: BaseHTTPRequestHandler) -> bool:
    handler.close_connection = True
    return True


@pytest.mark.parametrize("fault", [is_cut, is_gone], ids=lambda fault: fault.__name__)
def test_answers_that_break_off_change_no_prompt_and_lose_no_outcome(
    server: Server, rollout: dict[str, Any], fault: Callable[[BaseHTTPRequestHandler], bool]
) -> None:
    """Wrong ones that come whole: client/tests/test_client.py."""
    name = f"{fault.__name__}-"
    with relay_to(server) as relay, Client(relay.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        before = hear(client, rollout)
        relay.fault = fault
        for unit in UNITS:
            use(client, unit, name + unit)
        assert not client.flush(0.1)
        until(lambda: relay.n_faults >= 2, "the fault to be met")
        assert roles_of(client) == before
        with Client(relay.url, fallback=FALLBACK, timeout=0.5) as other:
            assert other.prompt(F, unit="u1", message="x").messages == [{"role": "user", "content": "Own x"}]
            other.close(0.1)
        relay.fault = Relay.fault
        until(lambda: client.flush(1.0), "all to be sent", patience_s=PROCESSES_S)
        status = client.status()
    assert (status.events_sent, status.events_dropped, status.events_rejected) == (2 * len(UNITS), 0, {})
    assert outcomes(server.home, name) == expected(before, rollout)


def expected(roles: dict[str, str], rollout: dict[str, Any]) -> Counter[tuple[str, str]]:
    return Counter((rollout[role], rollout["id"]) for role in roles.values())


def test_no_call_waits_for_an_answer_that_does_not_come(server: Server) -> None:
    with relay_to(server) as relay:

        def slow(handler: BaseHTTPRequestHandler) -> bool:
            relay.n_faults += 1
            relay.goes_on.wait(PROCESSES_S)
            return False

        relay.fault = slow
        client = Client(relay.url, fallback=FALLBACK, timeout=0.2)
        roles = {client.prompt(F, unit=unit, message="x").role for unit in UNITS}
        # The server has not answered yet: nobody has waited for it
        assert (roles, relay.n_faults, relay.goes_on.is_set()) == ({"fallback"}, 1, False)
        relay.goes_on.set()
        until(lambda: client.prompt(F, unit="u1", message="x").role != "fallback", "the answer, five seconds late")
        client.close()


def test_nobody_gets_a_candidate_that_nothing_has_watched_for_a_minute(
    server: Server, rollout: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the server's word nor a minute is waited for: the client's clock is moved."""
    with relay_to(server) as relay, Client(relay.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        before = hear(client, rollout)
        relay.fault = is_gone
        until(lambda: client.status().failure, "the client to notice")
        assert roles_of(client) == before
        later = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + 60)
        monkeypatch.setattr("detent_client.snapshot.time", later)
        assert set(roles_of(client).values()) == {"champion"}
        assert client.prompt(F, unit=candidate_of(before), message="x").rollout is None
        relay.fault = Relay.fault
    monkeypatch.undo()


def candidate_of(roles: dict[str, str]) -> str:
    return next(unit for unit, role in roles.items() if role == "candidate")


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_a_machine_whose_clock_is_an_hour_off_gets_the_same_and_its_outcomes_count(
    server: Server, rollout: dict[str, Any], monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    name = f"clock{ahead_s:.0f}-"
    with Client(server.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        before = hear(client, rollout)
    off = SimpleNamespace(time=lambda: time.time() + ahead_s, monotonic=time.monotonic)
    monkeypatch.setattr("detent_client.snapshot.time", off)
    with Client(server.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        assert hear(client, rollout) == before
        for unit in UNITS:
            use(client, unit, name + unit)
        assert client.flush()
        assert client.status().events_in_no_arm == 0
    assert outcomes(server.home, name) == expected(before, rollout)


def test_a_fallback_file_that_is_cut_short_while_it_is_needed_still_answers(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "snapshot.json"
    assert server.detent("export", "snapshot", "--out", str(file)).code == 0
    whole = json.loads(file.read_text(encoding="utf-8"))["families"][F]["champion"]["messages"]
    with relay_to(server) as relay, Client(relay.url, fallback=file, timeout=0.2) as client:
        relay.fault = is_gone
        file.write_text(file.read_text(encoding="utf-8")[:100], encoding="utf-8")
        p = client.prompt(F, unit="u1", message="{{message}}")
        assert (p.role, p.messages) == ("fallback", whole)
        client.close(0.1)


@pytest.mark.parametrize("act", ["advance", "rollback"])
def test_of_a_change_s_outcomes_none_is_lost(server: Server, rollout: dict[str, Any], act: str) -> None:
    """The client has not heard of it yet when its users' outcomes come."""
    with relay_to(server) as relay, Client(relay.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        before = hear(client, rollout)
        relay.fault = lambda handler: handler.command == "GET" and is_gone(handler)
        until(lambda: client.status().failure, "the client to hear no more")
        confirmed = {"confirm": F} if act == "advance" else {}
        changed = httpx.post(
            f"{server.url}/v1/rollouts/{rollout['id']}/{act}", json={"reason": "a test", **confirmed}, timeout=60
        )
        assert changed.is_success, changed.text
        assert roles_of(client) == before
        for unit in UNITS:
            use(client, unit, f"{act}-{unit}")
        assert client.flush()
        status = client.status()
    assert (status.events_sent, status.events_rejected, status.events_in_no_arm) == (2 * len(UNITS), {}, 0)
    assert outcomes(server.home, f"{act}-").total() == len(UNITS)
    assert {of for _, of in outcomes(server.home, f"{act}-")} == {rollout["id"]}


def test_a_process_that_is_killed_again_and_again_loses_nothing_that_was_reported(
    server: Server, rollout: dict[str, Any]
) -> None:
    is_over = threading.Event()
    n_reported = 0
    with Client(server.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        hear(client, rollout)

        def application() -> None:
            nonlocal n_reported
            while not is_over.wait(0.05):
                use(client, UNITS[n_reported % len(UNITS)], f"killed-{n_reported}")
                n_reported += 1

        user = threading.Thread(target=application)
        user.start()
        try:
            for name in ("api", "feedback", "api"):
                pid = until(lambda name=name: server.pid(name), name, patience_s=PROCESSES_S)
                os.kill(pid, signal.SIGKILL)
                until(
                    lambda name=name, pid=pid: server.pid(name) not in (None, pid),
                    f"another {name}",
                    patience_s=PROCESSES_S,
                )
        finally:
            is_over.set()
            user.join()
        until(lambda: client.flush(1.0), "all to be sent", patience_s=PROCESSES_S)
        status = client.status()
    assert n_reported > 20
    assert status.events_sent + status.events_dropped == 2 * n_reported
    assert outcomes(server.home, "killed-").total() + status.events_dropped >= n_reported
    assert status.events_dropped == 0


def test_a_server_that_is_stopped_and_started_again_gets_everything(home: Path, server: Server) -> None:
    """The last of this file: it ends the server of the others."""
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http:
        rollout = deploying(http)
    with Client(server.url, fallback=FALLBACK, refresh=REFRESH_S) as client:
        before = hear(client, rollout)
        server.end()
        until(lambda: client.status().failure, "the client to notice")
        for unit in UNITS:
            use(client, unit, f"stopped-{unit}")
        assert not client.flush(0.1)
        with started(home) as again:
            assert again.url == server.url
            until(lambda: client.flush(1.0), "all to be sent", patience_s=PROCESSES_S)
            status = client.status()
            until(lambda: client.status().failure is None, "the client to hear", patience_s=PROCESSES_S)
    assert (status.events_sent, status.events_dropped, status.events_rejected) == (2 * len(UNITS), 0, {})
    assert outcomes(home, "stopped-") == expected(before, rollout)
