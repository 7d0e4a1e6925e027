"""Pruning is killed with SIGKILL between two batches and within one:
whole batches have gone, and the next run goes on.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories.retention import RetentionTables
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.upkeep.prune_records import prune_records
from optimizer.jobs.upkeep.read_retention import retentions
from tests.children import die_at, exit_code
from tests.clock import Clock
from tests.rows.ingestion import family
from tests.stores import NOW, arm, interaction, keep_events, new_database, writing

POINTS = {  # where the third batch dies, and how many of 20 rows are left: 5 go in a batch
    "before it deletes": ("before", 10),
    "after it has deleted, before the commit": ("after", 10),
}


def prune_and_die(url: str, when: str) -> None:
    die_at(RetentionTables, "remove", 3, after=when == "after")
    store, clock = Database(url), Clock(NOW)
    prune_records(store, clock, retentions(store, clock, {family().name: family()})[0], batch=5)


def n_left(store: Database) -> int:
    with store.read() as tx:
        return int(tx.execute(text("SELECT count(*) FROM interactions")).scalar() or 0)


@pytest.mark.parametrize(("when", "left"), POINTS.values(), ids=POINTS)
def test_a_killed_pruning_has_removed_whole_batches_and_the_next_one_goes_on(
    tmp_path: Path, when: str, left: int
) -> None:
    before = new_database(tmp_path)
    rows = [interaction(f"in_{i}", of=arm(rollout=None), received_at=NOW - timedelta(days=91)) for i in range(20)]
    keep_events(before, rows)
    writing(before).minute_stats.set_watermark(MINUTES, NOW)
    before.close()
    assert exit_code(prune_and_die, before.url, when) == -signal.SIGKILL
    store, clock = Database(before.url), Clock(NOW)
    assert n_left(store) == left
    kept, _ = retentions(store, clock, {family().name: family()})
    assert {one.rows: one.n for one in prune_records(store, clock, kept).items if one.n} == {"interactions": left}
    assert n_left(store) == 0
    store.close()
