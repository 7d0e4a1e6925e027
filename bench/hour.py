"""A day's events in the store, and then a real hour of requests: what processes hold, what the disk takes, what waits.

    python bench/hour.py [--minutes 60] [--rate 50] [--before-hours 23]

One ``detent serve`` with all its processes, on a home with one family and a rollout under way. The hours before are
loaded in bulk at the same rate, an interaction and its outcome for each request, and summed up by minute as the worker
would have done; users of these hours it sums up within the hour. Then requests come at random moments (Poisson): each
fetches the prompt of one of 5,000 users, and reports the answer and its outcome with the prompt's token, again with the
same id until that is acknowledged. A wait counts from the moment at which the request was due. Afterwards each
acknowledged id is looked up in the store. An hour needs 10 GB of disk and ten minutes more.
Writes bench/results/hour.json and docs/reference/hour-measured.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import Cell, options_of, write_result
from bench.crash import READY, KilledInstallation
from bench.siege.one_request import REMOTE
from bench.speed.events import answered
from bench.speed.installation import FAMILY, Installation, fill
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.runtime import wiring
from tests.worlds import api_world, gateway_world

UNITS, CONNECTIONS = 5000, 16
PATIENCE_S, AGAIN_S, DRAIN_S = 10.0, 0.5, 60.0
STRETCH_MINUTES, SAMPLE_S = 5.0, 2.0
UNREACHABLE = {"openai_compatible": "http://127.0.0.1:9/v1", "model": "m"}  # no chat is asked for
ROLL_UP_AT_ONCE = timedelta(hours=1)
OF_CHAMPION = {"variant": ":champion", "role": "'champion'", "rollout": "NULL", "stage": "NULL", "cohort_start": "NULL"}
QUESTION = "Where is invoice {}, which was to come on the first of the month?"


@dataclass(kw_only=True)
class Stretch:
    """What was seen in some minutes. Waits are in milliseconds; memory is resident bytes by process. Mutable: grows."""

    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    load: list[float] = field(default_factory=list)
    disk: dict[str, int] = field(default_factory=dict)  # bytes at its end
    n_again: int = 0


@dataclass(kw_only=True)
class Hour:
    """What was measured. ``ids``: of the reports that were acknowledged."""

    began: float
    stretches: dict[int, Stretch] = field(default_factory=lambda: defaultdict(Stretch))
    ids: list[str] = field(default_factory=list)

    @property
    def now(self) -> Stretch:
        return self.stretches[int((time.monotonic() - self.began) / 60 / STRETCH_MINUTES)]


@contextmanager
def loaded(rate: float, before_hours: float) -> Iterator[KilledInstallation]:
    """A running server whose store has the hours before."""
    with tempfile.TemporaryDirectory(prefix="detent-hour-") as folder:
        home = Path(folder)
        settings = gateway_world.make_home(home, {FAMILY: api_world.FAMILY + REMOTE}, {"remote": UNREACHABLE})
        profile = {"port": 0, "limits": {"events_per_minute": 10**9}}
        (home / "config" / "dev.yaml").write_text(json.dumps(profile), encoding="utf-8")
        with api_world.serving(settings) as world:
            world.deploying()
        n, began = round(3600 * rate * before_hours), time.monotonic()
        fill(Installation(url="", pids=(), home=home, settings=settings), n, hours=before_hours, own=OF_CHAMPION)
        store, clock = wiring.open_store(settings), wiring.open_clock(settings)
        try:
            roll_up_minutes(store, clock, at_once=ROLL_UP_AT_ONCE)
        finally:
            store.close()
        print(f"{2 * n:,} events stored: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        place = KilledInstallation(home=home)
        try:
            place.start()
            yield place
        finally:
            place.stop()


def watch(place: KilledInstallation, hour: Hour, ended: threading.Event) -> None:
    """Looks at processes and disk until ``ended``."""
    pids = {name: place.running(name) for name in READY} | {"serve": place.process.pid if place.process else None}
    while not ended.wait(SAMPLE_S):
        stretch = hour.now
        stretch.load.append(os.getloadavg()[0])
        for name, pid in pids.items():
            with suppress(psutil.Error):
                stretch.memory[name].append(psutil.Process(pid).memory_info().rss)
        stretch.disk = disk_of(place.home)


def disk_of(home: Path) -> dict[str, int]:
    """Bytes of the store, of its log of writes, and of all other files."""
    sizes = {"store": 0, "log of writes": 0, "other files": 0}
    for file in home.rglob("*"):
        with suppress(OSError):  # a file that has gone meanwhile
            if file.is_file():
                kind = {"detent.db": "store", "detent.db-wal": "log of writes"}.get(file.name, "other files")
                sizes[kind] += file.stat().st_size
    return sizes


async def requests(place: KilledInstallation, hour: Hour, *, rate: float, seconds: float) -> None:
    """At random moments for so long; then what is open is waited for."""
    draw, due, until, tasks, n = random.Random(1), hour.began, hour.began + seconds, set[asyncio.Task[None]](), 0
    connector, patience = aiohttp.TCPConnector(limit=2 * CONNECTIONS), aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(place.url, connector=connector, timeout=patience) as session:
        while (due := due + draw.expovariate(rate)) < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.ensure_future(_request(session, hour, n, draw.randrange(UNITS), due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            n += 1
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_S)


async def _request(session: aiohttp.ClientSession, hour: Hour, n: int, unit: int, due: float) -> None:
    """One user's: the prompt, and what came of it."""
    prompt = await _answered(session, hour, "prompt", due, "GET", f"/v1/families/{FAMILY}/prompt?unit=u{unit}")
    outcome = answered(prompt["assignment"], n)
    report = {**outcome, "id": f"hour-{n}", "input": {"text": QUESTION.format(n)}}
    answer = await _answered(session, hour, "report", time.monotonic(), "POST", "/v1/feedback", report)
    if not answer["rejected"]:
        hour.ids.append(str(report["id"]))


async def _answered(
    session: aiohttp.ClientSession, hour: Hour, kind: str, due: float, method: str, path: str, body: object = None
) -> dict[str, Any]:
    """The answer, asked for again until it is there. Raises ClientResponseError where the server refuses it."""
    while True:
        with suppress(TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            async with session.request(method, path, json=body) as answer:
                if answer.status < 500:
                    answer.raise_for_status()
                    content: dict[str, Any] = await answer.json()
                    hour.now.waits[kind].append(1000 * (time.monotonic() - due))
                    return content
        hour.now.n_again += 1
        await asyncio.sleep(AGAIN_S)


def times_on_record(home: Path, table: str) -> Counter[str]:
    with closing(sqlite3.connect(f"file:{home}/var/detent.db?mode=ro", uri=True, timeout=60)) as store:
        return Counter(id for (id,) in store.execute(f"SELECT id FROM {table} WHERE id LIKE 'hour-%'"))


def measure(minutes: float, rate: float, before_hours: float) -> list[Cell]:
    with loaded(rate, before_hours) as place:
        before, ended = disk_of(place.home), threading.Event()
        hour = Hour(began=time.monotonic())
        watcher = threading.Thread(target=watch, args=(place, hour, ended), daemon=True)
        watcher.start()
        asyncio.run(requests(place, hour, rate=rate, seconds=60 * minutes))
        ended.set()
        watcher.join(60)
        after = disk_of(place.home)
        on_record = {table: times_on_record(place.home, table) for table in ("interactions", "feedback_events")}
    n = len(hour.ids)
    cells = [
        Cell(case="events before", ours=2 * round(3600 * rate * before_hours), unit="events", n=1),
        Cell(case="hours before", ours=before_hours, unit="hours", n=1),
        Cell(case="minutes", ours=minutes, unit="minutes", n=1),
        Cell(case="rate", ours=rate, unit="requests a second", n=1),
        Cell(case="requests", ours=n, unit="requests", n=n),
        Cell(case="answers asked for again", ours=sum(s.n_again for s in hour.stretches.values()), unit="times", n=n),
    ]
    for table, times in on_record.items():
        cells.append(Cell(case=f"lost, {table}", ours=sum(not times[id] for id in hour.ids), unit="rows", n=n))
        cells.append(Cell(case=f"twice, {table}", ours=sum(times[id] > 1 for id in hour.ids), unit="rows", n=n))
    for kind, size in before.items():
        cells.append(Cell(case=f"disk before, {kind}", ours=size, unit="bytes", n=1))
        cells.append(Cell(case=f"disk after, {kind}", ours=after[kind], unit="bytes", n=1))
    for number, stretch in sorted(hour.stretches.items()):
        if number < minutes / STRETCH_MINUTES:  # what is open is waited for after the last
            cells += _of_stretch(f"from minute {STRETCH_MINUTES * number:02.0f}", stretch)
    return cells


def _of_stretch(when: str, stretch: Stretch) -> list[Cell]:
    cells = []
    for kind, waits in stretch.waits.items():
        cells.append(Cell(case=f"p95, {kind}, {when}", ours=float(np.quantile(waits, 0.95)), unit="ms", n=len(waits)))
    for name, held in stretch.memory.items():
        cells.append(Cell(case=f"memory, {name}, {when}", ours=float(np.median(held)), unit="bytes", n=len(held)))
    for kind, size in stretch.disk.items():
        cells.append(Cell(case=f"disk, {kind}, {when}", ours=size, unit="bytes", n=1))
    n = len(stretch.load)
    return [*cells, Cell(case=f"load, {when}", ours=float(np.mean(stretch.load)), unit="programs", n=n)]


def main() -> int:
    options = options_of(__doc__, minutes=60.0, rate=50.0, before_hours=23.0)
    cells = measure(options.minutes, options.rate, options.before_hours)
    write_result("hour", cells)
    return int(any(cell.ours for cell in cells if cell.case.startswith(("lost", "twice"))))


if __name__ == "__main__":
    sys.exit(main())
