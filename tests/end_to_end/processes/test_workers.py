"""Two processes of the api behind one port, under ``detent serve``: what one says the other says, limits hold in sum,
and the death of one loses nothing that was acknowledged.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from optimizer.core.serving.assignment import bucket
from optimizer.host import ports_in_use
from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, until
from tests.command_line import detent
from tests.examples import n_examples
from tests.stand_ins.running_server import Server, make_home, started

F = "support_topics"
LEASE_S = 4
PROFILE = {
    "api": {"workers": 2},
    "limits": {"operator_per_minute": 40, "events_per_minute": 5000},
    "family_overrides": {"rollout": {"ladder": [0.5, 0.75]}},
}
WITHIN_S = 1.0  # what a change of what is served may take to be seen everywhere
WORKERS = ("api", "api-2")

pytestmark = pytest.mark.skipif(not ports_in_use.SPREADS, reason="here one worker may get every connection")


class Client(httpx.Client):
    """Keeps one connection, and so one worker."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=600)
        super().__init__(base_url=url, timeout=60, limits=limits, headers=headers, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = self.request(method, path, json=body, **options)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


def of_each(server: Server, headers: Mapping[str, str] | None = None) -> dict[str, Client]:
    """A client of each worker; the system decides who gets a connection, so connect until both have one."""
    found: dict[str, Client] = {}
    others = []
    while len(found) < len(WORKERS):
        client = Client(server.url, headers)
        client.get("/health").raise_for_status()
        name = next(name for name in WORKERS if _holds(server.pid(name), client))
        if found.setdefault(name, client) is not client:
            others.append(client)
    for client in others:
        client.close()
    return found


def _holds(pid: int | None, client: Client) -> bool:
    (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
    port = connection._connection._network_stream.get_extra_info("socket").getsockname()[1]
    ends = psutil.Process(pid).net_connections("tcp") if pid is not None else []
    return any(end.raddr and end.raddr.port == port and end.status == psutil.CONN_ESTABLISHED for end in ends)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared by the tests below, in their order. No model is called."""
    home = make_home(tmp_path_factory.mktemp("workers") / "home", "http://127.0.0.1:9", profile=PROFILE)
    with started(home) as made:
        until(lambda: made.pid("api-2"), "the second worker", patience_s=PROCESSES_S)
        yield made


@pytest.fixture(scope="module")
def each(server: Server) -> Iterator[dict[str, Client]]:
    made = of_each(server)
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(scope="module")
def rollout(each: dict[str, Client]) -> dict[str, Any]:
    """Deploying at its first stage."""
    one = each["api"]
    one.ask("POST", "/v1/interactions", {"family": F, "unit": "before", "latency_ms": 100.0, "cost_usd": 0.001})
    draft = {"messages": [{"role": "user", "content": "Topic? {{message}}"}], "note": "another"}
    variant = one.ask("POST", f"/v1/families/{F}/variants", draft)["variant"]
    asked = {"variant": variant, "confirm": F, "reason": "a try"}
    id = one.ask("POST", f"/v1/families/{F}/rollouts", asked)["id"]
    one.ask("POST", f"/v1/rollouts/{id}/approve", {"reason": "go"})
    found: dict[str, Any] = until(
        lambda: (now := one.ask("GET", f"/v1/rollouts/{id}"))["status"] == "deploying" and now,
        "the first stage",
        patience_s=PROCESSES_S,
    )
    until(lambda: all(role_of(client) for client in each.values()), "the snapshot of both", patience_s=PROCESSES_S)
    return found


def prompt(client: Client, unit: str) -> dict[str, Any]:
    found: dict[str, Any] = client.ask("GET", f"/v1/families/{F}/prompt", params={"unit": unit})
    return found


def role_of(client: Client) -> bool:
    return any(prompt(client, f"probe{i}")["role"] == "candidate" for i in range(12))


def test_both_workers_are_shown_and_named(server: Server, each: dict[str, Client]) -> None:
    shown = {one["process"]: one["pid"] for one in server.detent("status", "--json").json["processes"]}
    assert {name: shown[name] for name in WORKERS} == {name: server.pid(name) for name in WORKERS}
    assert len({shown[name] for name in WORKERS}) == 2
    for client in each.values():
        assert client.ask("GET", "/ready")["dependencies"]["api"] == {"ok": True, "processes": 2, "of": 2}
    for name in WORKERS:
        assert f"{name} is ready at {server.url}" in server.told
    client = each["api-2"]
    client.put(f"/v1/families/{F}/overrides/somebody", json={"variant": "v_000000000000", "until": None})
    log = (server.settings.log_dir() / "api-2.log").read_text().splitlines()
    assert {json.loads(line)["process"] for line in log} == {"api-2"}


@settings(
    max_examples=n_examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(unit=st.text(min_size=1, max_size=40).filter(lambda unit: unit.isprintable() and unit.strip() == unit))
def test_a_unit_gets_the_same_from_both(each: dict[str, Client], rollout: dict[str, Any], unit: str) -> None:
    first, second = (prompt(client, unit) for client in each.values())
    assert (first["variant"], first["role"], first["messages"]) == (
        second["variant"],
        second["role"],
        second["messages"],
    )
    expected = "candidate" if bucket(rollout["salt"], unit) < int(rollout["share"] * 2**32) else "champion"
    assert first["role"] in (expected, "holdback")


def _exposed(server: Server, rollout: str) -> Counter[str]:
    store = wiring.open_store(server.settings)
    try:
        with store.read() as tx:
            return Counter({arm.variant: arm.n_exposed for arm in store.exposures.totals(tx, F, rollout)})
    finally:
        store.close()


def test_an_event_sent_to_both_at_once_is_kept_once(server: Server, each: dict[str, Client]) -> None:
    for n in range(15):
        event = {"id": f"twice-{n}", "family": F, "unit": "u", "success": True}
        with ThreadPoolExecutor(2) as at_once:
            told = list(at_once.map(lambda client, e=event: client.ask("POST", "/v1/feedback", e), each.values()))
        assert sorted((one["accepted"], one["duplicates"]) for one in told) == [(0, 1), (1, 0)]
    keyed = {"Idempotency-Key": "the-same"}
    body = [{"family": F, "unit": "u", "success": False}]
    first, second = (client.ask("POST", "/v1/feedback", body, headers=keyed) for client in each.values())
    assert first == second == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert _n_events(server, 'NOT "success"') == 1


def _n_events(server: Server, where: str) -> int:
    path = server.settings.db_url().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        (n,) = connection.execute(f"SELECT count(*) FROM feedback_events WHERE {where}").fetchone()
    return int(n)


def test_a_lease_that_ends_ends_for_both(server: Server, each: dict[str, Client], rollout: dict[str, Any]) -> None:
    pid = server.pid("worker")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        stopped = time.monotonic()
        until(
            lambda: not any(role_of(client) for client in each.values()),
            "no candidate from either",
            patience_s=PROCESSES_S,
        )
        assert time.monotonic() - stopped < LEASE_S + PROCESSES_S / 3, "a busy machine is slow to ask, too"
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: all(map(role_of, each.values())), "the candidate from both", patience_s=PROCESSES_S)


def test_what_one_changes_the_other_serves_within_a_second(each: dict[str, Client], rollout: dict[str, Any]) -> None:
    first, second = each.values()
    waits = []
    for _ in range(3):
        for path, is_served in (("/v1/freeze", False), ("/v1/unfreeze", True)):
            first.ask("POST", path, {"family": F, "reason": "a look"})
            changed = time.monotonic()
            until(lambda s=is_served: role_of(second) == s, "what the other changed", patience_s=PROCESSES_S)
            waits.append(time.monotonic() - changed)
    assert sorted(waits)[2] < WITHIN_S, "half of them: a busy machine is slow, not wrong"


@pytest.fixture(scope="module")
def keyed(server: Server) -> Iterator[tuple[list[Client], dict[str, str]]]:
    """A client of each worker with an application's key, and a person's header. The tests below need none."""

    def header(name: str, role: str, *words: str) -> dict[str, str]:
        secret = server.detent("keys", "create", name, "--role", role, "--json", *words).json["secret"]
        return {"Authorization": f"Bearer {secret}"}

    boss = header("boss", "admin", "--close-keyless-from", "24h")
    clients = list(of_each(server, header("web", "feedback")).values())
    yield clients, boss
    for client in clients:
        client.close()


def uses(client: Client) -> dict[str, Any]:
    """What the routes that applications use answer, but for tokens and leases; None: the key is refused."""
    one, family = {"unit": "somebody"}, f"/v1/families/{F}"
    answers = {
        "prompt": client.get(f"{family}/prompt", params=one),
        "render": client.post(f"{family}/render", json={**one, "variables": {"message": "Where is it?"}}),
        "snapshot": client.get("/v1/snapshot"),
        "feedback": client.post("/v1/feedback", json={**one, "family": F, "success": True}),
    }
    assert {answer.status_code for answer in answers.values()} <= {200, 401, 429}, "429: so many wrong keys came"
    return {
        name: [answer.json().get(member) for member in ("variant", "role", "messages", "accepted")]
        + [answer.headers["etag"] if name == "snapshot" else None]
        if answer.status_code == 200
        else None
        for name, answer in answers.items()
    }


@pytest.mark.parametrize(
    ("path", "body", "is_refused"),
    [
        pytest.param("/v1/rollouts/{id}/hold", {"reason": "a look"}, False, id="a rollout is held"),
        pytest.param("/v1/keys/web/revoke", {}, True, id="a key is revoked"),
    ],
)
def test_no_use_goes_on_differing_after_a_brake_at_one(
    keyed: tuple[list[Client], dict[str, str]],
    rollout: dict[str, Any],
    path: str,
    body: dict[str, str],
    is_refused: bool,
) -> None:
    (first, second), boss = keyed
    until(
        lambda: all(None not in uses(client).values() for client in (first, second)),
        "the key at both",
        patience_s=PROCESSES_S,
    )
    first.ask("POST", path.format(id=rollout["id"]), body, headers=boss)

    def stay_alike() -> bool:
        end = time.monotonic() + 2 * WITHIN_S  # each has read the store anew
        while time.monotonic() < end:
            answers = uses(first)
            if answers != uses(second) or {answer is None for answer in answers.values()} != {is_refused}:
                return False
        return True

    until(stay_alike, "the same from both", patience_s=PROCESSES_S)


def test_limits_of_a_minute_hold_for_both_together(server: Server, each: dict[str, Client]) -> None:
    """Whatever the tests above have used of it; a minute may end in between, so the headers say when."""
    at_once: list[tuple[int, int]] = []
    for i in range(100):
        answer = each[WORKERS[i % 2]].post(f"/v1/families/{F}/variants", json={"messages": [], "note": "none"})
        at_once.append((int(answer.headers["X-RateLimit-Remaining"]), answer.status_code))
    ends = [n for n in range(1, 100) if at_once[n][0] > at_once[n - 1][0]]
    minute = at_once[ends[0] :] if ends else at_once
    left = [remaining for remaining, _ in minute]
    assert left == [max(0, left[0] - n) for n in range(len(left))], "each sees what the other has counted"
    assert [status == 429 for _, status in minute] == [n > left[0] for n in range(len(minute))]


def test_a_killed_worker_loses_nothing_that_was_acknowledged(server: Server, rollout: dict[str, Any]) -> None:
    """Prompts and events on many connections of both; each worker is killed once. What a worker had counted and not
    written yet is lost with it, and nothing is counted twice.
    """
    until(
        lambda: not any(Client(server.url).ask("GET", "/v1/status")["exposures_waiting"] for _ in range(8)),
        "what the tests above fetched",
        patience_s=PROCESSES_S,
    )
    before = _exposed(server, rollout["id"]).total()
    acknowledged: list[str] = []
    asked: list[float] = []  # when; monotonic
    fetched: list[float] = []
    kills: list[float] = []
    killed: dict[str, int] = {}
    n_broken, url = 0, server.url
    over, starting = threading.Event(), threading.Event()  # a worker that starts is left the CPU

    def user(number: int) -> None:
        nonlocal n_broken
        n = 0
        client = Client(url)
        while not over.is_set():
            id = f"under-fire-{number}-{n}"
            try:
                asked.append(time.monotonic())
                token = prompt(client, id)["assignment"]
                fetched.append(time.monotonic())
                event = {"id": id, "assignment": token, "success": True, "latency_ms": 5.0}
                if client.post("/v1/feedback", json=event).status_code == 200:
                    acknowledged.append(id)
                n += 1
            except httpx.TransportError:
                n_broken += 1
                client.close()
                client = Client(url)
            if starting.is_set():  # else without a pause: a client that idles opens another connection, unharmed
                time.sleep(0.3)
        client.close()

    with ThreadPoolExecutor(5) as users:
        going = [users.submit(user, number) for number in range(5)]
        try:
            for name in WORKERS:
                pid, n = server.pid(name), len(acknowledged)
                assert pid is not None
                killed[name] = pid
                starting.clear()
                until(lambda n=n: len(acknowledged) > n + 20, "events", patience_s=PROCESSES_S)
                os.kill(pid, signal.SIGKILL)
                kills.append(time.monotonic())
                n = len(acknowledged)
                until(lambda n=n: len(acknowledged) > n + 20, "events of the other", patience_s=PROCESSES_S)
                starting.set()
                until(lambda n=name, p=pid: server.pid(n) not in (None, p), f"{name} again", patience_s=PROCESSES_S)
        finally:
            over.set()
        for one in going:
            one.result()
    assert n_broken > 0, "the kills met somebody"
    uncertain = sum(
        any(0 <= kill - at < 3 for kill in kills) for at in fetched
    )  # written each second, or a little later
    until(
        lambda: _exposed(server, rollout["id"]).total() - before >= len(fetched) - uncertain,
        "the exposures of both",
        patience_s=PROCESSES_S,
    )
    assert _exposed(server, rollout["id"]).total() - before <= len(asked)
    assert _n_events(server, "id LIKE 'under-fire-%'") >= len(acknowledged)
    path = server.settings.db_url().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        kept = {id for (id,) in connection.execute("SELECT id FROM feedback_events WHERE id LIKE 'under-fire-%'")}
    assert set(acknowledged) <= kept
    assert all(f"{name} (pid {pid}) was killed by signal 9" in server.told for name, pid in killed.items())


def test_ctrl_c_ends_everything(server: Server) -> None:
    pids = [server.pid(name) for name in (*WORKERS, "gateway", "worker")]
    port = int(server.url.rsplit(":", 1)[1])
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=PROCESSES_S) == 0
    until(lambda: "Everything has ended" in server.told, "its last words", patience_s=PROCESSES_S)
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)
    assert not list(server.settings.run_dir().glob("*.json"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_no_more_workers_than_there_are_connections_to_share(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", "http://127.0.0.1:9", profile={"limits": {"connections_per_address": 3}})
    refused = detent("serve", "--no-mlflow", "--workers", "4", env={"DETENT_HOME": str(home), "NO_COLOR": "1"})
    assert refused.code == 2
    assert "api.workers (4) must not be more than limits.connections_per_address (3)" in refused.err
