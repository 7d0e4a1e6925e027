"""Pruning is killed with SIGKILL between two batches and within one:
whole batches have gone, and the next run goes on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from optimizer.adapters.store import Database
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.upkeep.prune_records import prune_records
from optimizer.jobs.upkeep.read_retention import retentions
from tests.clock import Clock
from tests.ingestion import family
from tests.stores import NOW, arm, interaction, keep_events, new_database

ROOT = Path(__file__).resolve().parents[2]
POINTS = {  # where the third batch dies, and how many of 20 rows are left: 5 go in a batch
    "before it deletes": ("before", 10),
    "after it has deleted, before the commit": ("after", 10),
}
PRUNE = """
import os, signal, sys
from datetime import datetime
from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories.retention import RetentionTables
from tests.clock import Clock
from optimizer.jobs.upkeep.prune_records import prune_records
from optimizer.jobs.upkeep.read_retention import retentions
from tests.ingestion import family

url, now, when = sys.argv[1:]
real, calls = RetentionTables.remove, []

def dying(*args):
    calls.append(args)
    if when == "after" or len(calls) < 3:
        removed = real(*args)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return removed

RetentionTables.remove = dying
store, clock = Database(url), Clock(datetime.fromisoformat(now))
prune_records(store, clock, retentions(store, clock, {family().name: family()})[0], batch=5)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    rows = [interaction(f"in_{i}", of=arm(rollout=None), received_at=NOW - timedelta(days=91)) for i in range(20)]
    keep_events(database, rows)
    database.write(lambda tx: database.minute_stats.set_watermark(tx, MINUTES, NOW))
    yield database
    database.close()


def n_left(store: Database) -> int:
    with store.read() as tx:
        return int(tx.execute(text("SELECT count(*) FROM interactions")).scalar() or 0)


@pytest.mark.parametrize(("when", "left"), POINTS.values(), ids=POINTS)
def test_a_killed_pruning_has_removed_whole_batches_and_the_next_one_goes_on(
    store: Database, when: str, left: int
) -> None:
    ended = subprocess.run([sys.executable, "-c", PRUNE, store.url, NOW.isoformat(), when], cwd=ROOT, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert n_left(store) == left
    clock = Clock(NOW)
    kept, _ = retentions(store, clock, {family().name: family()})
    assert {one.rows: one.n for one in prune_records(store, clock, kept).items if one.n} == {"interactions": left}
    assert n_left(store) == 0
