"""Rollouts under ``detent serve`` with real processes: users fetch and report over HTTP,
the worker decides, and nobody is asked.

Accelerated, and so marked by ``simulated_clock``: an hour of rollout durations passes in ten seconds. Guardrails,
leases and ticks run on real time; bench/guardrail_response.py measures how long they take at one request a second.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, until
from tests.stand_ins.running_server import Server, make_home, started

F = "support_topics"
LEASE_S = 4
PROFILE = {
    "clock_scale": 360,
    "lease_seconds": LEASE_S,
    "limits": {"operator_per_minute": 1000},
    "family_overrides": {
        "rollout": {
            "ladder": [0.5, 0.75],
            "whole_days": False,
            "feedback_window": {"floor_hours": 0},
            "guardrails": {"min_history": 50},
            "margin": 0.1,
        }
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared by the tests below. No model is called: users report what their application did."""
    home = make_home(tmp_path_factory.mktemp("rollouts") / "home", "http://127.0.0.1:9", profile=PROFILE)
    with started(home) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


@pytest.fixture
def rollout(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Ended afterwards, however the test went."""
    with deploying(client) as made:
        yield made


@pytest.fixture(scope="module")
def watched(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Which the tests share whose trouble it survives."""
    with deploying(client) as made:
        yield made


@contextmanager
def deploying(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """A rollout at its first stage."""
    n = random.getrandbits(32)
    usual = {"family": F, "latency_ms": 100.0, "cost_usd": 0.001}
    post(client, "/v1/interactions", [{**usual, "unit": f"before{i}"} for i in range(60)])
    draft = {"messages": [{"role": "user", "content": f"{n} Topic? {{{{message}}}}"}], "note": "another"}
    variant = post(client, f"/v1/families/{F}/variants", draft)["variant"]
    id = post(client, f"/v1/families/{F}/rollouts", {"variant": variant, "confirm": F, "reason": "a try"})["id"]
    post(client, f"/v1/rollouts/{id}/approve", {"reason": "go"})
    yield until(
        lambda: (found := look(client, id))["status"] == "deploying" and found,
        "the first stage",
        patience_s=PROCESSES_S,
    )
    client.post(f"/v1/rollouts/{id}/rollback", json={"reason": "the test is over"})


def post(client: httpx.Client, path: str, body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def look(client: httpx.Client, id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/rollouts/{id}").json()
    return found


def fetch(client: httpx.Client, unit: str) -> dict[str, Any]:
    answer = client.get(f"/v1/families/{F}/prompt", params={"unit": unit})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def use(
    client: httpx.Client, id: str, *, per_second: float, seconds: float, report: Callable[[str], Mapping[str, Any]]
) -> int:
    """Users come until the rollout has ended; each fetches and reports.

    ``report``: what a role's request shows. Returns how many came.
    """
    n, began = 0, time.monotonic()
    with ThreadPoolExecutor(4) as several:
        while time.monotonic() - began < seconds:
            units = [f"user-{random.getrandbits(64):x}" for _ in range(max(1, round(per_second)))]
            served = list(several.map(lambda unit: fetch(client, unit), units))
            done = post(client, "/v1/feedback", [{"assignment": s["assignment"], **report(s["role"])} for s in served])
            assert done["rejected"] == []
            n += len(units)
            if look(client, id)["status"] != "deploying":
                return n
            time.sleep(max(0.0, began + n / per_second - time.monotonic()))
    pytest.fail(f"still deploying after {seconds:g} s: {look(client, id)}")


def decisions(client: httpx.Client, id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/rollouts/{id}/decisions").json()["items"]
    return found


def lapses(client: httpx.Client, id: str) -> int:
    return [decision["kind"] for decision in decisions(client, id)].count("lapse")


def candidate_unit(client: httpx.Client) -> str:
    """Somebody who gets the candidate while it is watched."""
    found = until(
        lambda: [u for u in (f"unit{i}" for i in range(60)) if fetch(client, u)["role"] == "candidate"],
        "a unit of the candidate",
        patience_s=PROCESSES_S,
    )
    return str(found[0])


# --- taken back by itself ---------------------------------------------------------------------------------------------


def test_half_of_the_requests_failing_is_taken_back_by_the_guardrail(
    server: Server, client: httpx.Client, rollout: dict[str, Any]
) -> None:
    draw = random.Random(1)

    def report(role: str) -> dict[str, Any]:
        failed = draw.random() < (0.5 if role == "candidate" else 0.01)
        answer = {"error": "upstream failed"} if failed else {"output": "account"}
        return {"latency_ms": 120.0, "cost_usd": 0.001, **answer}

    use(client, rollout["id"], per_second=10, seconds=180, report=report)
    ended = look(client, rollout["id"])
    assert (ended["status"], ended["outcome"], ended["simulated_clock"]) == ("rolled_back", "guardrail", True)
    assert "guardrail errors" in ended["reason"]
    until(
        lambda: {fetch(client, f"later{i}")["role"] for i in range(30)} == {"champion"},
        "the champion for every user",
        patience_s=PROCESSES_S,
    )
    assert server.detent("rollout", "verify", rollout["id"]).code == 0
    assert "rollout_ended" in {a["kind"] for a in client.get("/v1/alerts").json()["items"]}


# --- nobody watches ---------------------------------------------------------------------------------------------------


@contextmanager
def worker_killed(server: Server) -> Iterator[None]:
    """Killed, and its place taken, so that the next one stands by. (One that hangs is in test_workers.py.)"""
    pid = server.pid("worker")
    assert pid is not None
    lock = wiring.worker_lock(server.settings)
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    until(lock.acquire, "the lock", patience_s=PROCESSES_S)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def database_locked(server: Server) -> Iterator[None]:
    path = server.settings.db_url().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def database_removed(server: Server) -> Iterator[None]:
    path = Path(server.settings.db_url().removeprefix("sqlite:///"))
    away = path.with_name("away")
    away.mkdir()
    files = [file for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if file.exists()]
    for file in files:
        file.rename(away / file.name)
    try:
        yield
    finally:
        for file in files:
            (away / file.name).rename(file)
        away.rmdir()


@pytest.mark.parametrize(
    "trouble",
    [
        worker_killed,
        *(pytest.param(trouble, marks=pytest.mark.long) for trouble in (database_locked, database_removed)),
    ],
    ids=lambda t: t.__name__,
)
def test_when_the_lease_has_run_out_nobody_is_served_the_candidate_and_afterwards_it_goes_on(
    server: Server, client: httpx.Client, watched: dict[str, Any], trouble: Callable[[Server], Any]
) -> None:
    unit, n_lapses = candidate_unit(client), lapses(client, watched["id"])
    with trouble(server):
        last_lease_is_over = time.monotonic() + LEASE_S  # the store's, which the api may have read a renewal before
        until(lambda: fetch(client, unit)["role"] == "champion", "the champion", patience_s=60)
        for i in range(60):
            served = fetch(client, f"unit{i}")
            arm = served["variant"], served["rollout"], served["lease_expires_at"]
            assert arm == (watched["champion"], None, None)
        assert client.get("/v1/snapshot").json()["families"][F]["rollout"] is None
        until(lambda: time.monotonic() > last_lease_is_over, "the end of the lease", patience_s=LEASE_S)
    until(lambda: fetch(client, unit)["role"] == "candidate", "the candidate again", patience_s=PROCESSES_S)
    assert look(client, watched["id"])["status"] == "deploying"
    assert lapses(client, watched["id"]) > n_lapses
    assert server.detent("rollout", "verify", watched["id"]).code == 0


def test_a_client_that_is_cut_off_knows_from_its_last_answer_when_to_stop(
    client: httpx.Client, watched: dict[str, Any]
) -> None:
    unit = candidate_unit(client)
    snapshot, prompt = client.get("/v1/snapshot"), client.get(f"/v1/families/{F}/prompt", params={"unit": unit})
    for answer, ends in (
        (snapshot, snapshot.json()["families"][F]["rollout"]["lease_expires_at"]),
        (prompt, prompt.json()["lease_expires_at"]),
    ):
        left = datetime.fromisoformat(ends) - parsedate_to_datetime(answer.headers["Date"])
        assert 0 < left.total_seconds() <= LEASE_S + 2  # Date has whole seconds and is renewed once a second
