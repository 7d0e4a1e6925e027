"""A store that an older version wrote: it opens, its chains hold, and the same acts write the same rows today."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.core.base.canonical import canonical_json
from optimizer.host.config import Settings
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime import wiring
from tests.recordings.fixed import fixed
from tests.recordings.home import ROWS, Rows, built, clock_then, row_hash, row_hashes, rows_of, unpacked


@pytest.fixture(scope="module")
def fresh() -> Iterator[Rows]:
    with built() as settings:
        yield rows_of(settings)


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    return unpacked(tmp_path)


def test_the_recipe_leaves_no_table_of_the_schema_empty(fresh: Rows) -> None:
    assert [name for name, rows in fresh.items() if not rows] == []


def test_the_same_acts_write_what_they_wrote_before(fresh: Rows) -> None:
    before, now = json.loads(ROWS.read_text(encoding="utf-8")), row_hashes(fresh)
    told = []
    for table in sorted(before.keys() | now.keys()):
        known = Counter(before.get(table, []))
        other = [row for row in fresh.get(table, []) if not known[row_hash(row)]]
        if known != Counter(now.get(table, [])):
            told.append(f"{table}: {len(now.get(table, []))} rows for {known.total()}; new are {other[:2]}")
    assert told == [], "\n".join(told)


def test_it_opens_and_every_decision_follows_from_its_blocks(kept: Settings) -> None:
    """Byte by byte what the older version had decided, read and decided anew by this one."""
    with closing(sqlite3.connect(kept.var() / "detent.db")) as database:
        written = database.execute("SELECT rollout, seq, content, hash FROM decisions ORDER BY rollout, seq").fetchall()
    with fixed(clock_then()):
        wiring.migrate_store(kept)
        store = wiring.open_store(kept)
        rollouts = sorted({row[0] for row in written})
        reports = {id: verify_rollout(id, store) for id in rollouts}
        with store.read() as tx:
            decisions = [one for id in rollouts for one in store.rollouts.decisions(tx, id)]
        store.close()
    assert {id: report.problems for id, report in reports.items()} == dict.fromkeys(rollouts, ())
    read = [(d.rollout, d.seq, canonical_json(d.content).decode(), d.hash) for d in decisions]
    assert read == written
    assert {"promote", "rollback", "advance", "reject", "deploy"} <= {d.kind for d in decisions}
