"""How fast feedback is kept, beside writing the same rows with nothing else, and beside mlflow.log_trace.

    python bench/ingestion.py [--rounds 5] [--seconds 4]
    python bench/ingestion.py --growth 10000000

One api process, and that for feedback, as `detent serve` starts them, during a rollout; each answer means on disk
(synchronous=FULL). Batches of a hundred over four connections stand beside SQLAlchemy core's insert of the same rows in
one loop, a commit for each hundred events. Single events over sixteen connections stand beside a bare Starlette route
that writes the same rows in groups of up to sixteen. Each side has a database of its own with the product's tables and
indexes, and they are asked in turns. `--growth` asks two installations, one with so many stored events and one with a
thousand. Together with bench/serving.py this makes docs/reference/speed.md; `make bench-paths` runs
both in half an hour."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import Engine, Table, create_engine, event, insert, select
from ulid import ULID

from bench.common import Cell, beside, options_of, write_result
from bench.serving import PATH, UNITS
from bench.speed import client, rivals
from bench.speed.client import WARM_S, Load, cell_of, in_turns, ratio_of_rates, ratio_of_waits
from bench.speed.events import KINDS, posts
from bench.speed.installation import Installation, fill, installation, tokens_of
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS, METADATA

BATCH, BATCH_CONNECTIONS, SINGLE_CONNECTIONS = 100, 4, 16
TABLES: tuple[Table, ...] = (INTERACTIONS, FEEDBACK_EVENTS)
BOTH, OUTCOMES = KINDS
FEW = 1_000
TRACES = """
import json, sqlite3, sys, time
import mlflow, sqlalchemy
from sqlalchemy import event
@event.listens_for(sqlalchemy.engine.Engine, "connect")
def fast(connection, record):
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode=WAL"); connection.execute("PRAGMA synchronous=NORMAL")
mlflow.set_tracking_uri(sys.argv[1]); mlflow.set_experiment("speed")
def log(): mlflow.log_trace(name="answer", request={"text": "invoice"}, response=sys.argv[2], tags={"success": "true"})
log()
began, n = time.perf_counter(), 0
while time.perf_counter() - began < float(sys.argv[3]):
    log(); n += 1
print(json.dumps([n, time.perf_counter() - began]))
"""


def main() -> None:
    options = options_of(
        __doc__,
        rounds=5,
        seconds=(4.0, "of each side in each round"),
        growth=(int, "events in the larger of two stores"),
    )
    if options.growth:
        write_result("growth", growth(options.growth, options.rounds, options.seconds))
    else:
        cells = [cell for kind in KINDS for cell in batches(kind, options.rounds, options.seconds)]
        cells += [cell for kind in KINDS for cell in single(kind, options.rounds, options.seconds)]
        write_result("ingestion", [*cells, beside_mlflow(cells[0], options.seconds)])


def batches(kind: str, rounds: int, seconds: float) -> list[Cell]:
    """Ours over HTTP, and core's loop in this process."""
    ours, other = [], []
    with installation() as place, tempfile.TemporaryDirectory() as folder:
        requests = posts(tokens_of(place, 2000), kind, batch=BATCH, n=100)
        client.ask(place.url, requests, connections=BATCH_CONNECTIONS, seconds=WARM_S, headers=place.headers)
        engine, rows = core_engine(Path(folder) / "core.db"), rows_of(place)
        for number in range(rounds):
            sides: list[Callable[[], None]] = [
                lambda: ours.append(
                    client.ask(
                        place.url, requests, connections=BATCH_CONNECTIONS, seconds=seconds, headers=place.headers
                    ).per_s
                    * BATCH
                ),
                lambda: other.append(core_rate(engine, rows, seconds)),
            ]
            for side in sides if number % 2 else sides[::-1]:
                side()
            print(f"{kind}: {ours[-1]:,.0f} events/s beside {other[-1]:,.0f}", file=sys.stderr)
        engine.dispose()
    case = f"{kind}, batches of {BATCH} over {BATCH_CONNECTIONS} connections"
    return [cell_of(case, ours, other, "SQLAlchemy core, one loop without HTTP", "events a second")]


def core_engine(file: Path) -> Engine:
    engine = create_engine(f"sqlite:///{file}")

    @event.listens_for(engine, "connect")
    def durable(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    METADATA.create_all(engine, tables=list(TABLES))
    return engine


def rows_of(place: Installation) -> list[tuple[Table, dict[str, Any]]]:
    """A row of each table as the last event left it; those that this kind of event leaves empty are left out."""
    cells = []
    store = place.store()
    with store.read() as tx:
        for table in TABLES:
            row = tx.execute(select(table).order_by(table.c.received_at.desc()).limit(1)).mappings().first()
            if row is not None and row["sent_by"] == "benchmark":
                cells.append((table, dict(row)))
    store.close()
    return cells


def core_rate(engine: Engine, rows: Sequence[tuple[Table, dict[str, Any]]], seconds: float) -> float:
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        ids = [str(ULID()) for _ in range(BATCH)]
        with engine.begin() as connection:
            for table, row in rows:
                connection.execute(insert(table), [{**row, "id": id} for id in ids])
        n += BATCH
    return n / (time.perf_counter() - began)


def single(kind: str, rounds: int, seconds: float) -> list[Cell]:
    with installation() as place, tempfile.TemporaryDirectory() as folder:
        requests = posts(tokens_of(place, 2000), kind, batch=1, n=2000)
        client.ask(place.url, requests, connections=SINGLE_CONNECTIONS, seconds=WARM_S, headers=place.headers)
        source = Path(folder) / "given"
        database = Path(folder) / "bare.db"
        core_engine(database).dispose()
        source.write_text(json.dumps({"database": str(database), "rows": as_stored(place)}), encoding="utf-8")
        with rivals.running("durable", source) as bare:
            both = {place.url: place.headers, bare: {"Content-Type": "application/json"}}
            loads = in_turns(both, requests, rounds=rounds, seconds=seconds, connections=SINGLE_CONNECTIONS)
    sides = loads[place.url], loads[bare], f"a bare Starlette route, groups of up to {rivals.GROUP}"
    case = f"{kind}, one by one over {SINGLE_CONNECTIONS} connections"
    return [ratio_of_rates(case, *sides), ratio_of_waits(f"p99 of {case}", *sides)]


def as_stored(place: Installation) -> list[tuple[str, dict[str, Any]]]:
    """The same rows as SQLite holds them."""
    cells = []
    with sqlite3.connect(place.settings.home / "var" / "detent.db") as connection:
        connection.row_factory = sqlite3.Row
        for table, row in rows_of(place):
            query = f'SELECT * FROM "{table.name}" WHERE id = ?'
            cells.append((table.name, dict(connection.execute(query, (row["id"],)).fetchone())))
    return cells


def beside_mlflow(ours: Cell, seconds: float) -> Cell:
    quiet = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", TRACES, f"sqlite:///{folder}/mlflow.db", "billing", str(seconds)]
        done = subprocess.run(
            command, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=300, cwd=folder
        )
    if done.returncode != 0:
        raise RuntimeError(f"MLflow could not be measured: {done.stderr[-1000:]}")
    n, took = json.loads(done.stdout.splitlines()[-1])
    assert ours.ours is not None
    name = "mlflow.log_trace in one loop, SQLite (WAL, synchronous=NORMAL)"
    return beside("batches beside mlflow.log_trace", ours.ours, n / took, name, "events, or traces, a second", n)


def growth(stored: int, rounds: int, seconds: float) -> list[Cell]:
    """Seconds of work with much in the store over those with little: 1 where nothing depends on it."""
    with ExitStack() as stack:
        few, many = (stack.enter_context(installation()) for _ in range(2))
        for place, n in ((few, FEW), (many, stored)):
            fill(place, n)
        tokens = {place.url: tokens_of(place, 2000) for place in (few, many)}
        cases: list[tuple[str, int, Callable[[str], list[str]]]] = [
            ("prompt fetches", 16, lambda url: [f"GET {PATH}?unit=u{i}" for i in range(UNITS)]),
            (f"{BOTH}, batches of {BATCH}", 4, lambda url: posts(tokens[url], BOTH, batch=BATCH, n=100)),
            (f"{BOTH}, one by one", 16, lambda url: posts(tokens[url], BOTH, batch=1, n=2000)),
        ]
        cells = []
        for case, connections, requests in cases:
            took: dict[str, list[float]] = {few.url: [], many.url: []}
            for place in (few, many):
                client.ask(
                    place.url, requests(place.url), connections=connections, seconds=WARM_S, headers=place.headers
                )
            for number in range(rounds):
                for place in (few, many) if number % 2 else (many, few):
                    load: Load = client.ask(
                        place.url, requests(place.url), connections=connections, seconds=seconds, headers=place.headers
                    )
                    took[place.url].append(1e6 / load.per_s)
            title = f"{case}: {stored:,} stored events beside {FEW:,}"
            cells.append(cell_of(title, took[many.url], took[few.url], f"{FEW:,} stored", "us a request"))
            print(title, np.median(took[many.url]) / np.median(took[few.url]), file=sys.stderr)
    return cells


if __name__ == "__main__":
    main()
