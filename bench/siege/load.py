"""Mixed load at half of capacity while faults come in turn: what was lost,
how long well-behaved clients waited, what processes grew by.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from numpy.typing import NDArray

from bench.common import Cell
from bench.siege.besieged import Memory, ServiceUnderSiege, besieged
from bench.siege.clients import CHATS, EVENTS, PATIENCE_S, POSTS, PROMPTS, Clients, event_id
from bench.siege.faults import FOREIGN, Faults
from bench.siege.page import LOAD

WARM_S, CALIBRATE_S = 3.0, 10.0
RECORDED_S, LOOK_S = 60.0, 0.5  # patience with the spool after the last chat, and how often it is looked for
P99_MS, GROWN_MB, READY_S = 100.0, 400.0, 10.0  # the bars


@dataclass(frozen=True, kw_only=True)
class Siege:
    """What one siege gave. ``rounds_a_second``: the capacity; ``kept``: table > id > how often it is on record."""

    rounds_a_second: float
    seconds: float
    clients: Clients
    faults: Faults
    grown_mb: dict[str, float]
    kept: dict[str, Counter[str]]


def siege(home: Path, minutes: float) -> Siege:
    with besieged(home) as place:
        memory, faults = Memory(place), Faults(place)
        memory.start()
        try:
            clients, rounds, seconds = asyncio.run(_under_load(place, faults, minutes))
            # The gateway's spool brings what it answered while the store was locked
            until = monotonic() + RECORDED_S
            while set(clients.chats) - set(_ids(place.home, "interactions")) and monotonic() < until:
                sleep(LOOK_S)
        finally:
            faults.end.set()
            memory.finish()
    measured = {"rounds_a_second": rounds, "seconds": seconds, "grown_mb": memory.grown_mb()}
    return Siege(
        **measured,
        clients=clients,
        faults=faults,
        kept={table: Counter(_ids(home, table)) for table in ("feedback_events", "interactions")},
    )


async def _under_load(place: ServiceUnderSiege, faults: Faults, minutes: float) -> tuple[Clients, float, float]:
    async with Clients.connected(place.server.url) as clients:
        await clients.capacity(WARM_S)
        rounds = await clients.capacity(CALIBRATE_S)
        print(f"capacity: {rounds:.1f} rounds a second; half of it follows", file=sys.stderr, flush=True)
        clients.prompts.clear()
        began, ended = monotonic(), asyncio.Event()
        load = asyncio.create_task(clients.load(rounds / 2, ended))
        try:
            await asyncio.to_thread(faults.in_turn, began + 60 * minutes)
            seconds = monotonic() - began
        finally:
            faults.end.set()
            ended.set()
        await load
    return clients, rounds, seconds


def _ids(home: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(f"file:{home}/var/detent.db?mode=ro", uri=True, timeout=30)) as store:
        return [row[0] for row in store.execute(f"SELECT id FROM {table}")]


def cells_of(siege: Siege) -> list[Cell]:
    rounds, n_turns = siege.rounds_a_second, min(map(len, siege.faults.ready_s.values()))
    each = (("prompts", PROMPTS), ("feedback events", POSTS * EVENTS), ("chats", CHATS))
    rates = [
        _cell("faults in turn, for", siege.seconds / 60, "minutes", n_turns),
        *(_cell(f"capacity, {kind}", rounds * n, "a second", 1) for kind, n in each),
        *(_cell(f"asked for under siege, {kind}", rounds * n / 2, "a second", 1) for kind, n in each),
    ]
    grown = [_cell(f"growth of the {name}, at most", mb, "MB", 1, bar=GROWN_MB) for name, mb in siege.grown_mb.items()]
    ready = [
        _cell(f"ready again after {name}, at most", max(turns), "seconds", len(turns), bar=READY_S)
        for name, turns in siege.faults.ready_s.items()
    ]
    return [*rates, *_promises(siege), *_prompts(siege), *grown, *ready, *_answers(siege)]


def _cell(case: str, ours: float, unit: str, n: int, bar: float | None = None) -> Cell:
    return Cell(case=LOAD + case, ours=ours, other=bar, other_name="" if bar is None else "bar", unit=unit, n=n)


def _promises(siege: Siege) -> list[Cell]:
    events = [event_id(post, i) for post in siege.clients.posts for i in range(EVENTS)]
    faults = []
    for what, ids, table in (
        ("feedback events", events, "feedback_events"),
        ("interactions of these", events, "interactions"),
        ("chats", siege.clients.chats, "interactions"),
    ):
        times = [siege.kept[table][one] for one in ids]
        faults.append(_cell(f"acknowledged {what} that are not on record", times.count(0), "count", len(ids), bar=0))
        faults.append(
            _cell(f"acknowledged {what} on record more than once", sum(n > 1 for n in times), "count", len(ids), bar=0)
        )
    return faults


def _prompts(siege: Siege) -> list[Cell]:
    away = siege.faults.away
    runs = [(due, took) for due, took in siege.clients.prompts if not _overlap(due, took, away)]
    while_away = [took for due, took in siege.clients.prompts if _overlap(due, took, away)]
    by_fault = {
        name: [took for due, took in runs if _overlap(due, took, turns)] for name, turns in siege.faults.turns.items()
    }
    return [
        *_waits("while the api runs", [took for _, took in runs], P99_MS),
        *(_p99(f"during {name}", waits, None) for name, waits in by_fault.items() if waits),
        *_waits("while the api restarts", while_away, None),
    ]


def _overlap(due: float, took: float | None, spans: Sequence[tuple[float, float]]) -> bool:
    ends = due + (PATIENCE_S if took is None else took)
    return any(due <= until and since <= ends for since, until in spans)


def _waits(when: str, waits: list[float | None], bar_ms: float | None) -> list[Cell]:
    """One without an answer waited as long as its client was patient."""
    return [
        _cell(f"prompt {when}, p50", float(np.quantile(_ms(waits), 0.5)), "ms", len(waits)),
        _p99(when, waits, bar_ms),
        _cell(f"prompts without an answer within {PATIENCE_S:g} s {when}", waits.count(None), "count", len(waits)),
    ]


def _p99(when: str, waits: list[float | None], bar_ms: float | None) -> Cell:
    return _cell(f"prompt {when}, p99", float(np.quantile(_ms(waits), 0.99)), "ms", len(waits), bar=bar_ms)


def _ms(waits: list[float | None]) -> NDArray[np.float64]:
    return np.array([1000 * (PATIENCE_S if took is None else took) for took in waits] or [0.0])


def _answers(siege: Siege) -> list[Cell]:
    told_s = siege.faults.told
    n_wrong = sum(n for what, n in told_s.items() if what.startswith("wrong keys"))
    n_huge = sum(n for what, n in told_s.items() if what.startswith("huge bodies"))
    let_in = told_s["wrong keys: 200"]
    hostile = {what: n for what, n in told_s.items() if not what.startswith("wrong keys: 200")}
    n_upgrades = told_s["upgrades: own answers"]  # none where there is no nginx, which says nothing of them
    return [
        _cell("wrong keys that opened", let_in, "count", n_wrong, bar=0),
        *(
            [_cell("answers that another got through upgrades", told_s[FOREIGN], "count", n_upgrades, bar=0)]
            if n_upgrades
            else []
        ),
        _cell("huge bodies answered with 500", told_s["huge bodies: 500"], "count", n_huge, bar=0),
        *(_cell(f"faults, {what}", n, "count", n) for what, n in sorted(hostile.items())),
        *(_cell(f"clients, told {what}", n, "count", n) for what, n in sorted(siege.clients.told.items())),
    ]
