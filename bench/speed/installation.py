"""The api, and the process for feedback, as ``detent serve`` starts them, on a home of its own whose one family has a
rollout under way.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.speed.events import ANSWER
from optimizer.adapters.store import Database
from optimizer.core.serving.access import Role, access_of, hash_of
from optimizer.core.serving.assignment import Assignment, TokenForm, cohort_start, unit_hmac
from optimizer.core.serving.rollout import Rollout
from optimizer.host.config import Settings, load_settings
from optimizer.host.ports_in_use import listen
from optimizer.host.run_files import api_names, find
from optimizer.jobs.rollouts.tick import tick
from optimizer.runtime import wiring
from tests.worlds import api_world

ROOT = Path(__file__).resolve().parents[2]
FAMILY = "triage"
LEASE_S = 6 * 3600.0  # no worker runs beside, so that nothing but the api is measured
KEY = "key-of-the-benchmark"
START_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    url: str
    pids: tuple[int, ...]  # of the api's processes, then of that for feedback, and of the worker where one runs
    home: Path
    settings: Settings

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    def store(self) -> Database:
        return wiring.open_store(self.settings)


@contextmanager
def installation(*, with_keys: bool = True, workers: int = 1) -> Iterator[Installation]:
    """Everything that was started has ended when this ends."""
    with tempfile.TemporaryDirectory(prefix="detent-speed-") as folder:
        home = Path(folder)
        write_profile(home, workers)
        settings = api_world.make_home(home)
        with api_world.serving(settings) as world:
            world.deploying()
        # Lets the rollout go on for as long as the benchmark runs, and makes a key
        store, clock = wiring.open_store(settings), wiring.open_clock(settings)
        try:
            tick(store, clock, LEASE_S)
        finally:
            store.close()
        if with_keys:
            add_key(settings, "feedback")
        with running(load_settings("dev", home)) as place:
            yield place


def write_profile(home: Path, workers: int = 1) -> None:
    (home / "config").mkdir()
    profile = {"limits": {"events_per_minute": 10**9}, "api": {"workers": workers}}
    (home / "config" / "dev.yaml").write_text(json.dumps(profile), encoding="utf-8")


@contextmanager
def running(settings: Settings, *, with_worker: bool = False) -> Iterator[Installation]:
    """The api's processes, and that for feedback, of a home; with the worker where what it does belongs to it."""
    folder, workers = str(settings.home), settings.api.workers
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DETENT_")}
    listening = listen("127.0.0.1", 0, "api")
    listening = listening.shared() if workers > 1 else listening
    processes = []
    for number in range(1, workers + 1):  # they announce the address of a socket that they are given
        with listening.of_one() if listening.is_shared else listening.socket.dup() as one:
            processes.append(_started("api", number, one.fileno(), folder, environment))
    listening.socket.close()
    with listen("127.0.0.1", 0, "feedback").socket as one:
        processes.append(_started("feedback", 1, one.fileno(), folder, environment))
    if with_worker:
        processes.append(_started("worker", 1, None, folder, environment))
    try:
        names = (*api_names(workers), "feedback")
        urls = [address_of(settings, name, one) for name, one in zip(names, processes, strict=False)]
        pids = tuple(one.pid for one in processes)
        yield Installation(url=urls[0], pids=pids, home=settings.home, settings=settings)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def _started(
    entry: str, number: int, fd: int | None, folder: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    listening = [] if fd is None else ["--fd", str(fd)]
    return subprocess.Popen(
        [sys.executable, "-m", "optimizer.processes", entry, *listening, "--number", str(number)],
        pass_fds=() if fd is None else (fd,),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**environment, "DETENT_HOME": folder, "PYTHONPATH": str(ROOT)},
    )


def add_key(settings: Settings, role: Role) -> None:
    store, now = wiring.open_store(settings), datetime.now(UTC)
    try:
        access = access_of([role], now=now)
        store.write(lambda tx: store.api_keys.add(tx, "benchmark", access, hash_of(KEY), now))
    finally:
        store.close()


def address_of(settings: Settings, name: str, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        server = find(settings, name)
        if server is not None and server.url is not None:
            return server.url
        time.sleep(0.1)
    raise RuntimeError(f"The {name} did not start, so nothing can be measured; its log is in its home under var/log.")


def _rollout_of(place: Installation) -> Rollout:
    """The one under way."""
    store = place.store()
    try:
        with store.read() as tx:
            rollout = store.rollouts.active(tx, FAMILY)
    finally:
        store.close()
    assert rollout is not None
    return rollout


def insert_events(
    connection: sqlite3.Connection,
    known: Mapping[str, Any],
    *,
    answer: Mapping[str, str],
    outcome: Mapping[str, str],
    drawn: str = "event",
) -> None:
    """``known["n"]`` pairs, made by SQLite of expressions by column, in which ``i`` counts them from 0.

    ``drawn``: what the expressions are selected from.
    """
    n = known["n"]
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    for first in range(0, n, FILLED_AT_ONCE):
        some = {**known, "first": first, "last": min(first + FILLED_AT_ONCE, n) - 1}
        connection.execute("BEGIN IMMEDIATE")
        for table, columns in (("interactions", answer), ("feedback_events", outcome)):
            connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) WITH RECURSIVE event(i) AS (SELECT :first UNION ALL SELECT"
                f" i + 1 FROM event WHERE i < :last) SELECT {', '.join(columns.values())} FROM {drawn}",
                some,
            )
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill(place: Installation, n: int, *, hours: float = 720.0, own: Mapping[str, str] | None = None) -> None:
    """n events of the last month in the store, an interaction and its outcome each, of the rollout's two arms.

    SQLite makes them, in the order of their time: ten million take some minutes and 15 GB. ``own``: what columns hold
    instead, in SQL.
    """
    rollout = _rollout_of(place)
    known = {
        "n": n,
        "family": FAMILY,
        "candidate": rollout.candidate,
        "champion": rollout.champion,
        "rollout": rollout.id,
        "stage": rollout.share,
        "output": ANSWER,
        "begin": time.time() - 3600 * hours,
        "step": 3600 * hours / n,
    }
    file = place.home / "var" / "detent.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        event = {**OF_EVENT, **(own or {})}
        insert_events(connection, known, answer={**OF_ANSWER, **event}, outcome={**OF_OUTCOME, **event})
    with file.open("rb") as filled:  # else the first commits that are measured wait for all of it
        os.fsync(filled.fileno())


FILLED_AT_ONCE = 100_000
_AT = ":begin + :step * i, 'unixepoch'"
OF_EVENT = {
    "family": ":family",
    "variant": "iif(i % 2, :candidate, :champion)",
    "role": "iif(i % 2, 'candidate', 'champion')",
    "rollout": ":rollout",
    "stage": ":stage",
    "cohort_start": f"strftime('%Y-%m-%d %H:00:00.000000', {_AT})",
    "unit_hmac": "lower(hex(randomblob(32)))",
    "recomputed": "0",
    "occurred_at": f"strftime('%Y-%m-%d %H:%M:%f000', {_AT})",
    "received_at": f"strftime('%Y-%m-%d %H:%M:%f000', {_AT})",
    "content_hash": "lower(hex(randomblob(32)))",
    "tags": "'{}'",
}
OF_ANSWER = {
    "id": "printf('in_00%024d', i)",  # before those of now, as its time is
    "output": ":output",
    "latency_ms": "120.0",
    "cost_usd": "0.0004",
    "model": "'small'",
    "by_gateway": "0",
}
OF_OUTCOME = {
    "id": "printf('fb_00%024d', i)",
    "source": "'user'",
    "interaction": "printf('in_00%024d', i)",
    "success": "1",
    "score": "0.5",
}


def tokens_of_champions(place: Installation, n: int) -> list[str]:
    """Tokens as n units were served them by the champions of all families in turn."""
    store = place.store()
    try:
        with store.read() as tx:
            champions = store.champions.all_current(tx)
    finally:
        store.close()
    secrets, now = wiring.open_secrets(place.settings), datetime.now(UTC)
    return [
        TokenForm.of(
            Assignment(family=champion.family, variant=champion.variant, role="champion", issued_at=now),
            secrets.token_keys,
        ).signed(unit_hmac(secrets.unit_key, f"u{i}"))
        for i, champion in zip(range(n), cycle(champions), strict=False)
    ]


def tokens_of(place: Installation, n: int) -> list[str]:
    """Tokens as n units were served them, in both arms of the rollout."""
    rollout, secrets, now = _rollout_of(place), wiring.open_secrets(place.settings), datetime.now(UTC)
    return [
        TokenForm.of(
            Assignment(
                family=FAMILY,
                variant=rollout.candidate if i % 2 else rollout.champion,
                role="candidate" if i % 2 else "champion",
                rollout=rollout.id,
                stage=rollout.share,
                issued_at=now,
                cohort_start=cohort_start(now, 60),
            ),
            secrets.token_keys,
        ).signed(unit_hmac(secrets.unit_key, f"u{i}"))
        for i in range(n)
    ]
