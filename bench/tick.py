"""A tick over a rollout with ten million stored events beside one with ten thousand:
it should read what is new, not what is there.

    python bench/tick.py [--events 10000000] [--few 10000] [--rounds 40] [--folder DIR]

Two databases, filled by bulk inserts: 20 days of one rollout, seven interactions to three pieces of feedback, each unit
coming back five times, with the units, blocks and the watch that earlier ticks have left. Then 10 s pass on a clock of
its own, the same fifty interactions and twenty pieces of feedback come in on both, and `jobs.renew_leases.tick` runs on
one and on the other, in turns; every thirtieth tick closes a cohort of five minutes. The first, with which a worker
starts, is told apart. After a round of 120 such ticks the small database is made anew, since it would soon be no small
one any more. Rows hold no texts: what counts is how many there are. Ten million take about 6 GB under DIR.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, cast

import numpy as np
from common import Cell, ratio_interval, write_result
from sqlalchemy import create_engine, event, insert

from optimizer.adapters.store import Database
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS, CohortBlockRow, RolloutUnitsRow
from optimizer.core.rollout.baseline import Baseline
from optimizer.core.rollout.blocks import SECONDS, chained
from optimizer.core.rollout.evidence_state import StoredEvidence, after, as_text, begin, from_text
from optimizer.core.serving.rollout import Champion, Rollout, iso
from optimizer.jobs.rollouts.tick import tick
from optimizer.ports import EvidenceRow, Store

FAMILY, ROLLOUT, SHARE = "sentiment", "ro_measured", 0.10
CHAMPION, CANDIDATE = "v_aaaaaaaaaaaa", "v_bbbbbbbbbbbb"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 20
COHORT = timedelta(minutes=5)
SETTINGS: dict[str, Any] = {
    "margin": 0.01,
    "champion_mean": 0.8,
    "metric": {"field": "success", "source": "user"},
    "max_labelled": 10**9,
    "max_days": 10_000,
    "cohort_minutes": COHORT.total_seconds() / 60,
    "feedback_window": {"hours": COHORT.total_seconds() / 3600},
    "guardrails": {},
}
NEW_INTERACTIONS, NEW_FEEDBACK = 50, 20
CHUNK = 20_000
N_CHANGES = 4  # that looks have recorded of each unit: three values in guardrail blocks, and its cohort
FIRST_TICKS = 10  # of a worker; none of them closes a cohort
WARM_UP, TICKS = 30, 120  # of a round: those that do not count (caches, and the first cohort), and those that do


class StoppedClock:
    """ports.Clock that stands still until it is told to go on."""

    scale = 1.0

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def rollout_now(self) -> datetime:
        return self.at


@dataclass(kw_only=True)
class Stored:
    """One of the two databases."""

    n: int
    folder: Path
    database: Database
    n_units: int
    n_new: int = 0
    clock: StoppedClock = field(default_factory=StoppedClock)


@dataclass(kw_only=True)
class Times:
    """Seconds of the measured ticks on databases of one size: of those that closed a cohort, and of the others."""

    plain: list[float] = field(default_factory=list)
    closing: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)


def unit_of(i: int, n_units: int) -> str:
    """The i-th event's unit: each comes back, in no order."""
    return sha256(str(i * 7919 % n_units).encode()).hexdigest()[:32]


def arm_of(unit: str) -> dict[str, Any]:
    is_candidate = int(unit[:8], 16) < SHARE * 2**32
    return {"variant": CANDIDATE if is_candidate else CHAMPION, "role": "candidate" if is_candidate else "champion"}


def cohort_of(at: datetime) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // COHORT.total_seconds() * COHORT.total_seconds(), UTC)


def row_of(i: int, at: datetime, unit: str, *, is_feedback: bool) -> dict[str, Any]:
    shared = {
        "family": FAMILY,
        "rollout": ROLLOUT,
        "stage": SHARE,
        "unit_hmac": unit,
        **arm_of(unit),
        "cohort_start": cohort_of(at),
        "tags": {},
        "content_hash": "",
        "occurred_at": at,
        "received_at": at,
    }
    if is_feedback:
        return {**shared, "id": f"fb_{i:010}", "source": "user", "success": i % 5 > 0}
    return {
        **shared,
        "id": f"in_{i:010}",
        "latency_ms": 800.0 + i % 400,
        "cost_usd": 0.001,
        "error": "refused" if i % 101 == 0 else None,
    }


def history(n: int, n_units: int, *, is_feedback: bool) -> Iterator[dict[str, Any]]:
    """``n`` events in equal steps over the days before the last two cohorts."""
    begun, length = NOW - timedelta(days=DAYS), timedelta(days=DAYS) - 2 * COHORT
    for i in range(n):
        yield row_of(i, begun + length * (i / n), unit_of(i, n_units), is_feedback=is_feedback)


def block_rows(n: int) -> Iterator[dict[str, Any]]:
    """As many guardrail blocks as ticks would have left, of the usual size; nobody reads them."""
    for seq in range(1, n + 1):
        yield {
            "rollout": ROLLOUT,
            "seq": seq,
            "kind": "guardrails",
            "content": "x" * 400,
            "previous_hash": "",
            "hash": "",
            "closed_at": NOW,
        }


def unit_rows(n_units: int, n_looks: int) -> Iterator[dict[str, Any]]:
    """What looks would have left: each unit's first value, then its cohort closed, then further values;
    a look changed a few of them.
    """
    per_look = ceil(N_CHANGES * n_units / n_looks)
    changes = ((i, turn) for turn in range(N_CHANGES) for i in range(n_units))
    for look in range(1, n_looks + 1):
        counts = {}
        for i, turn in islice(changes, per_look):
            cohort = None if turn == 0 else iso(cohort_of(NOW - timedelta(days=1, seconds=i % (DAYS * 86_400))))
            counts[sha256(str(i).encode()).hexdigest()[:32]] = [cohort, max(1, turn), look]
        yield {"rollout": ROLLOUT, "n_blocks": look, "counts": json.dumps({"0": counts}, separators=(",", ":"))}


def build(n: int, folder: Path) -> Stored:
    """A migrated database with ``n`` events; indexes are dropped before the bulk and made again after it."""
    started = time.perf_counter()
    path = folder / f"events-{n}.db"
    for old in folder.glob(f"{path.name}*"):
        old.unlink()
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    n_units, n_feedback = max(1, n // 5), int(0.3 * n)
    n_blocks = min(n // 10, DAYS * 86_400 // SECONDS)
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    for target, rows in (
        (INTERACTIONS, history(n - n_feedback, n_units, is_feedback=False)),
        (FEEDBACK_EVENTS, history(n_feedback, n_units, is_feedback=True)),
        (RolloutUnitsRow.__table__, unit_rows(n_units, n_blocks)),
        (CohortBlockRow.__table__, block_rows(n_blocks)),
    ):
        with engine.begin() as connection:
            for index in target.indexes:
                index.drop(connection)
        while some := list(islice(rows, CHUNK)):
            with engine.begin() as connection:
                connection.execute(insert(target), some)
        with engine.begin() as connection:
            for index in target.indexes:
                index.create(connection)
    engine.dispose()
    database = Database(f"sqlite:///{path}")
    database.write(lambda tx: _put_rollout(database, tx, n_blocks))
    print(
        f"{n} events: {path.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - started:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return Stored(n=n, folder=folder, database=database, n_units=n_units)


def _put_rollout(store: Database, tx: Any, n_blocks: int) -> None:
    """Deploying for 20 days, held so that nothing ends the measurement, and watched until now."""
    begun = NOW - timedelta(days=DAYS)
    store.champions.put(tx, Champion(family=FAMILY, seq=1, variant=CHAMPION, why="first", by="bench", since=begun))
    rollout = Rollout(
        id=ROLLOUT,
        family=FAMILY,
        candidate=CANDIDATE,
        champion=CHAMPION,
        aim="quality",
        ladder=(SHARE, 0.5),
        salt="s",
        status="deploying",
        stage=0,
        held=True,
        version=1,
        settings=SETTINGS,
        created_at=begun,
        created_by="bench",
        started_at=begun,
        stage_entered_at=begun,
        stage_history=[{"share": SHARE, "from": iso(begun), "to": None, "clock_from": iso(begun), "clock_to": None}],
        lease_expires_at=NOW + timedelta(hours=1),
    )
    store.rollouts.add(tx, rollout)
    usual = Baseline(
        frozen_at=NOW,
        n=5000,
        error_rate=0.01,
        latency_limit_ms=1150.0,
        latency_exceed=0.05,
        cost_cap_usd=None,
        cost_mean=None,
        cost_variance=None,
    )
    state = begin(SETTINGS)
    (block,) = chained(ROLLOUT, [("baseline", usual.as_record())], n_before=n_blocks, head=state.head, closed_at=NOW)
    store.blocks.add(tx, [block])
    known = StoredEvidence(
        state=after(state, block, SETTINGS, rollout.ladder),
        cohorts={0: cohort_of(NOW) - 2 * COHORT},
        guardrails_until=NOW - timedelta(seconds=40),
    )
    store.blocks.put_state(tx, ROLLOUT, EvidenceRow(n_blocks=n_blocks + 1, state=as_text(known), updated_at=NOW))


def let_pass(stored: Stored) -> None:
    """Ten seconds, in which the same number of events comes in on either database:
    half of the units are new, half return.
    """
    rows: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for is_feedback, n in ((False, NEW_INTERACTIONS), (True, NEW_FEEDBACK)):
        for k in range(n):
            i = 10**9 + stored.n_new
            unit = unit_of(i, stored.n_units) if stored.n_new % 2 else sha256(f"new {i}".encode()).hexdigest()[:32]
            rows[is_feedback].append(
                row_of(i, stored.clock.at + timedelta(seconds=SECONDS * k / n), unit, is_feedback=is_feedback)
            )
            stored.n_new += 1
    stored.database.write(
        lambda tx: [tx.execute(insert(m), rows[f]) for m, f in ((INTERACTIONS, False), (FEEDBACK_EVENTS, True))]
    )
    stored.clock.at += timedelta(seconds=SECONDS)


def slowest_of_the_first(stored: Stored) -> float:
    """Seconds of the slowest of the ticks with which a worker starts:
    one of them reads for what each unit was counted.
    """
    times = Times()
    for _ in range(FIRST_TICKS):
        let_pass(stored)
        timed_tick(stored, times)
    return max(times.all)


def timed_tick(stored: Stored, times: Times | None) -> None:
    before = last_cohort(stored)
    started = time.perf_counter()
    report = tick(cast(Store, stored.database), stored.clock)
    took = time.perf_counter() - started
    if report.done != {ROLLOUT: "watched"}:
        raise SystemExit(f"The tick did not watch the rollout but reports {report.done}; nothing was measured.")
    if times is not None:
        (times.closing if last_cohort(stored) != before else times.plain).append(took)
        times.all.append(took)


def measure_round(number: int, sides: list[tuple[Stored, Times]]) -> None:
    """The second side's database is closed after it."""
    for i in range(WARM_UP + TICKS):
        for stored, times in random.Random(1000 * number + i).sample(sides, 2):
            let_pass(stored)
            timed_tick(stored, times if i >= WARM_UP else None)
    sides[1][0].database.close()


def last_cohort(stored: Stored) -> datetime:
    with stored.database.read() as tx:
        found = stored.database.blocks.state(tx, ROLLOUT)
    assert found is not None
    return from_text(found.state).cohorts[0]


def ratio_cell(case: str, many: list[float], few: list[float], n_few: int, of: Callable[..., Any]) -> Cell:
    """``of``: np.mean or np.median; each tick is paired with its twin on the other database."""
    low, high = ratio_interval(many, few, of)
    ours, other = float(of(many)), float(of(few))
    return Cell(
        case=case,
        ours=1000 * ours,
        other=1000 * other,
        other_name=f"{n_few} events",
        ratio=ours / other,
        low=low,
        high=high,
        unit=f"ms a tick, {of.__name__}; bounds of the ratio",
        n=len(many),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the databases are made; a temporary folder by default"
    )
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="detent-tick-", dir=arguments.folder))
    try:
        if shutil.disk_usage(folder).free < 1000 * arguments.events:
            raise SystemExit(
                f"{arguments.events} events need up to {arguments.events / 1e6:.0f} GB under {folder}; give a larger"
                " disk by --folder."
            )
        many, few = Times(), Times()
        large, small = build(arguments.events, folder), build(arguments.few, folder)
        started, started_small = slowest_of_the_first(large), slowest_of_the_first(small)
        small.database.close()
        for number in range(arguments.rounds):
            measure_round(number, [(large, many), (build(arguments.few, folder), few)])
        large.database.close()
    finally:
        shutil.rmtree(folder)
    stored_events = f"{arguments.events} stored events"
    cells = [
        ratio_cell(f"ticks as they come, {stored_events}", many.all, few.all, arguments.few, np.mean),
        ratio_cell(f"tick that closes no cohort, {stored_events}", many.plain, few.plain, arguments.few, np.median),
        ratio_cell(f"tick that closes a cohort, {stored_events}", many.closing, few.closing, arguments.few, np.median),
        Cell(
            case=f"slowest of the first ticks of a worker, {stored_events}",
            ours=started,
            other=started_small,
            other_name=f"{arguments.few} events",
            ratio=started / started_small,
            low=None,
            high=None,
            unit="s",
            n=1,
        ),
    ]
    write_result("tick" if arguments.events >= 10_000_000 else "tick_part", cells)


if __name__ == "__main__":
    main()
