"""A store that an older version wrote: it opens, its chains hold, and the same acts write the same rows today."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from optimizer.core.base.canonical import canonical_json
from optimizer.host.config import Settings
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime import wiring
from tests.clock import Clock
from tests.recordings.fixed import fixed
from tests.recordings.home import END, Rows, built, rows_of, unpacked

MOVED = {"alembic_version"}  # says which version wrote the store


@pytest.fixture(scope="module")
def fresh() -> Iterator[Rows]:
    with built() as settings:
        yield rows_of(settings)


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    return unpacked(tmp_path)


def test_the_recipe_leaves_no_table_of_the_schema_empty(fresh: Rows) -> None:
    assert [name for name, rows in fresh.items() if not rows] == []


def test_the_same_acts_write_what_they_wrote_before(fresh: Rows, kept: Settings) -> None:
    before = rows_of(kept)
    told = []
    for table in sorted(before.keys() - MOVED):
        rows, known = fresh.get(table, []), before[table]
        columns = list(known[0])
        now = Counter(repr([row.get(name) for name in columns]) for row in rows)
        missing = Counter(repr([row[name] for name in columns]) for row in known) - now
        if missing or len(rows) != len(known):
            told.append(f"{table}: {len(rows)} rows for {len(known)}, and not among them {list(missing)[:1]}")
    assert told == [], "\n".join(told)


def test_it_opens_and_every_decision_follows_from_its_blocks(kept: Settings) -> None:
    """Byte by byte what the older version had decided, read and decided anew by this one."""
    with closing(sqlite3.connect(kept.var() / "detent.db")) as database:
        written = database.execute("SELECT rollout, seq, content, hash FROM decisions ORDER BY rollout, seq").fetchall()
    with fixed(Clock(datetime.fromisoformat(END.read_text().strip()))):
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
