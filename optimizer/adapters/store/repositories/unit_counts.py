"""Table rollout_units, which grows by one row per look, and what its rows add up to,
kept in memory by the process that ticks.

A unit may come back after weeks, so looking units up in a table costs a page of the disk for each, and more with each
unit that a rollout has seen. Here a look appends what it changed, and a tick reads what was appended since the last
one: both cost the same however long the rollout lasts (docs/adr/0010-a-tick-reads-first-and-writes-once.md).
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from optimizer.adapters.store.tables import RolloutUnitsRow
from optimizer.ports import UnitCount

UNITS = RolloutUnitsRow.__table__
ROWS_PER_QUERY = 2000
# units of a rollout that no look has asked about for so long leave the memory; asked again, they are read again
IDLE_S = 900.0
BEFORE_ALL = 0  # a look that counted units has closed a block, so rows have numbers from 1 on

Count = tuple[
    datetime | None, int, int | None
]  # a UnitCount's members; a tuple of these costs the garbage collector nothing
Counts = dict[str, Count]  # by unit


@dataclass(slots=True, kw_only=True)
class _Book:
    """One rollout's units by stage, as its rows up to ``last`` say."""

    last: tuple[int, str] | None = None  # n_blocks and counts of a row
    stages: dict[int, Counts] = field(default_factory=dict)
    cohorts: dict[str | None, datetime | None] = field(
        default_factory=lambda: {None: None}
    )  # one object for all units of a cohort
    asked_at: float = 0.0


class UnitCountTable:
    """ports.UnitCounts on the database. What the rows of a transaction say holds, whichever process wrote them."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}
        self._one_at_a_time = Lock()

    def get(self, tx: Connection, rollout: str, stage: int, units: Collection[str]) -> dict[str, UnitCount]:
        with self._one_at_a_time:
            book = self._books.setdefault(rollout, _Book())
            book.asked_at = time.monotonic()
            # False where the last row that was read is not there as it was: a backup was restored, or ``tx`` began
            # before it was written.
            if not (
                book.last is None or tx.execute(_ROW, {"of": rollout, "at": book.last[0]}).scalar() == book.last[1]
            ):
                book.last, book.stages = None, {}
            _read_on(tx, rollout, book)
            counts = book.stages.get(stage, {})
            return {
                unit: UnitCount(cohort_start=c[0], n_values=c[1], last_minute=c[2])
                for unit in units
                if (c := counts.get(unit))
            }

    def put(self, tx: Connection, rollout: str, n_blocks: int, counts: Mapping[tuple[int, str], UnitCount]) -> None:
        if counts:
            # {stage: {unit: [start of its cohort, values, minute of the last]}}: as they are after the look, not what
            # was added
            stages: dict[int, dict[str, Any]] = {}
            for (stage, unit), count in counts.items():
                cohort = None if count.cohort_start is None else count.cohort_start.isoformat()
                stages.setdefault(stage, {})[unit] = [cohort, count.n_values, count.last_minute]
            tx.execute(
                insert(UNITS),
                {"rollout": rollout, "n_blocks": n_blocks, "counts": json.dumps(stages, separators=(",", ":"))},
            )

    def sums(self, tx: Connection, rollout: str) -> tuple[int, int]:
        """From the rows alone: verification does not trust the memory."""
        book = _Book()
        _read_on(tx, rollout, book)
        units = [count for counts in book.stages.values() for count in counts.values()]
        return sum(cohort_start is not None for cohort_start, _, _ in units), sum(n_values for _, n_values, _ in units)

    def forget_idle(self) -> None:
        with self._one_at_a_time:
            for idle in [id for id, book in self._books.items() if time.monotonic() - book.asked_at > IDLE_S]:
                del self._books[idle]


def _read_on(tx: Connection, rollout: str, book: _Book) -> None:
    """Adds the rows after the last one that the book holds."""
    while True:
        after = BEFORE_ALL if book.last is None else book.last[0]
        rows = tx.execute(_NEXT, {"of": rollout, "after": after, "most": ROWS_PER_QUERY}).all()
        for n_blocks, text in rows:
            _add(book, text)
            book.last = (n_blocks, text)
        if len(rows) < ROWS_PER_QUERY:
            return


_ROW = select(UNITS.c.counts).where(UNITS.c.rollout == bindparam("of"), UNITS.c.n_blocks == bindparam("at"))
_NEXT = (
    select(UNITS.c.n_blocks, UNITS.c.counts)
    .where(UNITS.c.rollout == bindparam("of"), UNITS.c.n_blocks > bindparam("after"))
    .order_by(UNITS.c.n_blocks)
    .limit(bindparam("most"))
)


def _add(book: _Book, text: str) -> None:
    known: dict[tuple[str | None, int, int | None], Count] = {}  # one object for all units of a look that have the same
    for stage, units in json.loads(text).items():
        counts = book.stages.setdefault(int(stage), {})
        for unit, (cohort, n_values, last_minute) in units.items():
            key = (cohort, n_values, last_minute)
            if key not in known:
                if cohort not in book.cohorts:
                    book.cohorts[cohort] = datetime.fromisoformat(cohort)
                known[key] = (book.cohorts[cohort], n_values, last_minute)
            counts[unit] = known[key]
