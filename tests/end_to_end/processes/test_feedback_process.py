"""The process for feedback under ``detent serve``: long bodies are read and kept there, prompts do not wait for them,
and the api takes them itself while that process is away.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.app import create_app
from api.http.bodies import QUICK_BYTES
from tests.clock import PROCESSES_S, until
from tests.stand_ins.running_server import Server, make_home
from tests.worlds.gateway_world import serving

F = "support_topics"
EVENTS_A_MINUTE = 8_000
N = 120  # of a batch that is long enough to be passed on
COLUMNS = "/v1/interactions/import"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    profile = {"limits": {"events_per_minute": EVENTS_A_MINUTE, "event_text_bytes": 2000}}
    made = Server(make_home(tmp_path_factory.mktemp("feedback") / "home", "http://127.0.0.1:9", profile=profile))
    try:
        made.wait_ready()
        until(lambda: made.pid("feedback"), "the process for feedback", patience_s=PROCESSES_S)
        yield made
    finally:
        made.end()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as made:
        yield made


def batch(name: str, n: int = N) -> list[dict[str, Any]]:
    text = "The invoice came twice. " * 6
    return [{"id": f"{name}-{i}", "family": F, "unit": f"u{i}", "output": text, "success": True} for i in range(n)]


def kept(server: Server, name: str) -> int:
    query = "SELECT count(*) FROM interactions WHERE id LIKE ?"
    with closing(sqlite3.connect(server.settings.var() / "detent.db")) as connection:
        return int(connection.execute(query, (f"{name}-%",)).fetchone()[0])


@contextmanager
def standing_still(server: Server) -> Iterator[int]:
    """The pid of its process for feedback, which does nothing until it is let go on, and holds no lock of the store."""
    pid = there(server)
    with closing(sqlite3.connect(server.settings.var() / "detent.db", timeout=PROCESSES_S)) as store:
        store.execute("BEGIN IMMEDIATE")
        os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def there(server: Server) -> int:
    """The pid of the process for feedback, once it is reached."""
    pid = until(lambda: server.pid("feedback"), "the process for feedback", patience_s=PROCESSES_S)
    assert isinstance(pid, int)
    return pid


@pytest.mark.parametrize(
    ("path", "is_declared"),
    [("/v1/feedback", True), ("/v1/interactions", False), (COLUMNS, True)],
)
def test_long_bodies_wait_for_it_while_prompts_and_short_events_do_not(
    server: Server, client: httpx.Client, path: str, is_declared: bool
) -> None:
    name = f"waits{is_declared}" + path.replace("/", "_")
    events = batch(name)
    body: Any = events
    if path == COLUMNS:
        body = {"columns": {field: [one[field] for one in events] for field in events[0]}}
    assert len(json.dumps(body)) > QUICK_BYTES
    with ThreadPoolExecutor(1) as pool, standing_still(server) as pid:
        content: Any = json.dumps(body).encode()
        sent = {"content": content if is_declared else iter([content]), "headers": {"Content-Type": "application/json"}}
        long = pool.submit(httpx.post, server.url + path, timeout=60, **sent)
        assert client.get(f"/v1/families/{F}/prompt", params={"unit": "a"}).status_code == 200
        assert client.post("/v1/feedback", json=batch(f"{name}-short", 1)[0]).json()["accepted"] == 1
        assert kept(server, f"{name}-short") == 1
        with pytest.raises(TimeoutError):
            long.result(0.5)
        assert kept(server, name) == 1
        os.kill(pid, signal.SIGCONT)
        assert long.result(60).json() == {"accepted": N, "duplicates": 0, "rejected": []}
    assert kept(server, name) == N + 1


def test_spans_are_read_in_it_so_that_the_api_loads_no_protobuf(server: Server, client: httpx.Client) -> None:
    names = {"gen_ai.prompt.name": F, "gen_ai.operation.name": "chat", "user.id": "u"}
    attributes = [{"key": name, "value": {"stringValue": value}} for name, value in names.items()]
    span = {"traceId": "5" * 32, "spanId": "6" * 16, "startTimeUnixNano": "1795000000000000000"}
    span |= {"endTimeUnixNano": "1795000001000000000", "attributes": attributes}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    with ThreadPoolExecutor(1) as pool, standing_still(server) as pid:
        sent = pool.submit(client.post, "/v1/traces", json=body)
        with pytest.raises(TimeoutError):
            sent.result(0.5)
        os.kill(pid, signal.SIGCONT)
        answer = sent.result(60)
    assert (answer.status_code, answer.json()) == (200, {})
    assert kept(server, "5" * 32) == 1


def test_many_examples_are_read_in_it_and_few_in_the_api(server: Server, client: httpx.Client) -> None:
    path = f"/v1/families/{F}/examples"
    rows = [{"input": {"text": f"Invoice {at} came twice. " * 9}, "expected": {"topic": "billing"}} for at in range(90)]
    with ThreadPoolExecutor(1) as pool, standing_still(server) as pid:
        sent = pool.submit(client.post, path, json={"rows": rows})
        assert httpx.post(server.url + path, json={"rows": rows[:1]}, timeout=60).json()["n_read"] == 1
        with pytest.raises(TimeoutError):
            sent.result(0.5)
        os.kill(pid, signal.SIGCONT)
        answer = sent.result(60)
    assert (answer.status_code, answer.json()["n_read"]) == (200, len(rows))


def test_it_answers_as_the_api_does(server: Server) -> None:
    """Each body once passed on, and once read by an api without that process."""
    alone = server.settings.model_copy(
        update={"api": server.settings.api.model_copy(update={"feedback_process": False})}
    )
    broken = [*batch("broken", N), {"family": F, "unit": "u", "sucess": True}, 7]
    sent = {"Content-Type": "application/json", "X-Request-Id": "the-same"}
    bodies = {
        "sound": json.dumps(batch("both")),
        "some are rejected": json.dumps(broken),
        "no JSON": json.dumps(batch("cut"))[:-1],
        "another family": json.dumps([{**one, "family": "unheard"} for one in batch("other")]),
        "one long event": json.dumps({"family": F, "unit": "u", "tags": {str(i): "x" * 500 for i in range(40)}}),
        "one that is too long": json.dumps({"family": F, "unit": "u", "output": "x" * 20_000}),
        "too many": json.dumps(batch("many", 1001)),
    }
    with serving(create_app(alone), alone) as url:
        answers = {
            what: [
                httpx.post(f"{base}/v1/feedback", content=text, headers=sent, timeout=60) for base in (server.url, url)
            ]
            for what, text in bodies.items()
        }
    for what, (passed_on, own) in answers.items():
        assert passed_on.status_code == own.status_code, what
        told, again = passed_on.json(), own.json()
        if passed_on.status_code == 200:  # what has an id is known by now
            for one in (told, again):
                one["accepted"] += one.pop("duplicates")
        assert told == again, what
        own_names = {name for name in own.headers if name not in ("date", "connection")}
        assert own_names == {name for name in passed_on.headers if name not in ("date", "connection")}, what
        assert passed_on.headers["x-request-id"] == "the-same"


def test_an_idempotency_key_holds_for_it(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/feedback", json=batch("keyed"), headers=headers)
    assert first.json()["accepted"] == N
    assert client.post("/v1/feedback", json=batch("keyed"), headers=headers).json() == first.json()
    assert client.post("/v1/feedback", json=batch("keyed-2"), headers=headers).status_code == 422


def test_while_it_is_away_the_api_keeps_feedback_itself(server: Server, client: httpx.Client) -> None:
    pid = there(server)
    os.kill(pid, signal.SIGKILL)
    until(lambda: f"feedback (pid {pid}) was killed" in server.told, "its end to be known", patience_s=PROCESSES_S)
    assert client.post("/v1/feedback", json=batch("alone")).json()["accepted"] == N
    assert there(server) != pid
    assert client.post("/v1/feedback", json=batch("again")).json()["accepted"] == N
    assert kept(server, "alone") == kept(server, "again") == N


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system does not say what waits on a connection")
def test_where_it_dies_with_a_body_the_sender_hears_that_it_cannot_be_told(
    server: Server, client: httpx.Client
) -> None:
    pid = there(server)
    with ThreadPoolExecutor(1) as pool:
        client.post("/v1/feedback", json=batch("before"))  # over a connection that it has accepted, which the next uses
        os.kill(pid, signal.SIGSTOP)
        long = pool.submit(httpx.post, f"{server.url}/v1/feedback", json=batch("lost"), timeout=60)
        until(lambda: _is_asked(pid), "the body on its way", patience_s=PROCESSES_S)
        os.kill(pid, signal.SIGKILL)
        answer = long.result(60)
    assert answer.status_code == 503
    assert "not known what of the body was kept" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    again = client.post("/v1/feedback", json=batch("lost")).json()
    assert again["accepted"] + again["duplicates"] == N
    assert kept(server, "lost") == N


def _is_asked(pid: int) -> bool:
    """Whether a body waits for it on one of its connections."""
    listening = [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    port = f":{listening[0].laddr.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return any(row[1].endswith(port) and int(row[4].split(":")[1], 16) > QUICK_BYTES for row in rows)
