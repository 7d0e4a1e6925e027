"""Tables rollouts and decisions: the state machine's rows and its hash chain, one transaction for both; cohort_blocks
and rollout_watches: what the tick has closed, and what it knows; rollout_units: whose values each look has counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, func, insert, or_, select, update

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import columns_of, first, newest_first, page_of, record_of, where_equal
from optimizer.adapters.store.tables.rollouts import (
    COHORT_BLOCKS as BLOCKS,
    DECISIONS,
    ROLLOUT_UNITS as UNITS,
    ROLLOUT_WATCHES as WATCHES,
    ROLLOUTS,
)
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Conflict, NotFound, StaleVersion
from optimizer.core.rollout.blocks import StoredBlock
from optimizer.core.serving.rollout import Decision, Rollout
from optimizer.ports import EvidenceRow, UnitCount

# Built once: every tick asks for them, and building one takes longer than running it.
_BY_ID = select(ROLLOUTS).where(ROLLOUTS.c.id == bindparam("of_id"))
_ACTIVE = select(ROLLOUTS).where(ROLLOUTS.c.active_family == bindparam("of_family"))
_ALL_ACTIVE = select(ROLLOUTS).where(ROLLOUTS.c.active_family.is_not(None)).order_by(ROLLOUTS.c.active_family)
_RENEW = update(ROLLOUTS).where(ROLLOUTS.c.id == bindparam("of_id")).values(lease_expires_at=bindparam("until"))
_LATEST = (
    select(ROLLOUTS)
    .where(ROLLOUTS.c.family == bindparam("of_family"))
    .order_by(ROLLOUTS.c.created_at.desc(), ROLLOUTS.c.id.desc())
    .limit(1)
)
_NEWER = func.row_number().over(
    partition_by=ROLLOUTS.c.family, order_by=(ROLLOUTS.c.created_at.desc(), ROLLOUTS.c.id.desc())
)
_PLACES = select(ROLLOUTS.c.id, _NEWER.label("place")).subquery()
_ALL_LATEST = select(ROLLOUTS).join(_PLACES, _PLACES.c.id == ROLLOUTS.c.id).where(_PLACES.c.place == 1)


class RolloutTables:
    """ports.Rollouts on the database."""

    def add(self, tx: Connection, rollout: Rollout) -> None:
        active = self.active(tx, rollout.family) if rollout.is_active else None
        if active is not None:
            raise Conflict(
                f"Family {rollout.family!r} has rollout {active.id} ({active.status}) already, and a family has one at"
                f" a time. End it first: `detent rollout rollback {rollout.family}` or `detent rollout promote"
                f" {rollout.family}`.",
                rollout=active.id,
            )
        tx.execute(insert(ROLLOUTS), [_columns(rollout)])

    def get(self, tx: Connection, id: str) -> Rollout | None:
        return first(tx, _BY_ID, _rollout, {"of_id": id})

    def active(self, tx: Connection, family: str) -> Rollout | None:
        return first(tx, _ACTIVE, _rollout, {"of_family": family})

    def latest(self, tx: Connection, family: str, *, before: datetime | None = None) -> Rollout | None:
        query = _LATEST if before is None else _LATEST.where(_R.created_at < before)
        return first(tx, query, _rollout, {"of_family": family})

    def last_against(self, tx: Connection, family: str, *, candidate: str, champion: str) -> Rollout | None:
        both = select(ROLLOUTS).where(_R.family == family, _R.candidate == candidate, _R.champion == champion)
        return first(tx, both.order_by(_R.created_at.desc(), _R.id.desc()).limit(1), _rollout)

    def all_active(self, tx: Connection) -> list[Rollout]:
        return [_rollout(row) for row in tx.execute(_ALL_ACTIVE).mappings()]

    def all_latest(self, tx: Connection) -> dict[str, Rollout]:
        rollouts = (_rollout(row) for row in tx.execute(_ALL_LATEST).mappings())
        return {rollout.family: rollout for rollout in rollouts}

    def page(
        self, tx: Connection, *, family: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Rollout], str | None]:
        query = where_equal(newest_first(select(ROLLOUTS), ROLLOUTS, cursor, limit), (ROLLOUTS.c.family, family))
        rollouts = [_rollout(row) for row in tx.execute(query).mappings()]
        return page_of(rollouts, limit, lambda rollout: (rollout.created_at, rollout.id))

    def following(self, tx: Connection, rollout: Rollout) -> Rollout | None:
        later = or_(_R.created_at > rollout.created_at, and_(_R.created_at == rollout.created_at, _R.id > rollout.id))
        query = select(ROLLOUTS).where(_R.family == rollout.family, later).order_by(_R.created_at, _R.id).limit(1)
        return first(tx, query, _rollout)

    def save(self, tx: Connection, rollout: Rollout, decision: Decision | None) -> None:
        before = ROLLOUTS.c.version == rollout.version - 1
        change = update(ROLLOUTS).where(ROLLOUTS.c.id == rollout.id, before).values(**_columns(rollout))
        if tx.execute(change).rowcount == 0:
            stored = tx.execute(select(ROLLOUTS.c.version).where(ROLLOUTS.c.id == rollout.id)).scalar()
            if stored is None:
                raise NotFound(f"There is no rollout {rollout.id!r}.")
            raise StaleVersion(
                f"Rollout {rollout.id} is at version {stored} by now, and this change was made for version"
                f" {rollout.version - 1}. Look at it again, then repeat the change if it still makes sense.",
                version=stored,
            )
        if decision is not None:
            tx.execute(insert(DECISIONS), [columns_of(decision, content=canonical_json(decision.content).decode())])

    def renew_lease(self, tx: Connection, id: str, until: datetime) -> None:
        tx.execute(_RENEW, {"of_id": id, "until": until})

    def decision_counts(self, tx: Connection) -> dict[tuple[str, str], int]:
        d, r = DECISIONS.c, ROLLOUTS.c
        query = select(r.family, d.kind, func.count()).select_from(DECISIONS.join(ROLLOUTS, d.rollout == r.id))
        return {(family, kind): n for family, kind, n in tx.execute(query.group_by(r.family, d.kind))}

    def decisions(self, tx: Connection, rollout: str) -> list[Decision]:
        query = select(DECISIONS).where(DECISIONS.c.rollout == rollout).order_by(DECISIONS.c.seq)
        return [_decision(row) for row in tx.execute(query).mappings()]

    def last_decision(self, tx: Connection, rollout: str) -> Decision | None:
        query = select(DECISIONS).where(DECISIONS.c.rollout == rollout).order_by(DECISIONS.c.seq.desc()).limit(1)
        return first(tx, query, _decision)


def _columns(rollout: Rollout) -> dict[str, Any]:
    return columns_of(
        rollout,
        ladder=list(rollout.ladder),
        settings=dict(rollout.settings),
        stage_history=[dict(stage) for stage in rollout.stage_history],
        active_family=rollout.family if rollout.is_active else None,
    )


def _rollout(row: RowMapping) -> Rollout:
    return record_of(Rollout, row, ladder=tuple(row["ladder"]), stage_history=tuple(row["stage_history"]))


def _decision(row: RowMapping) -> Decision:
    # What is not the canonical JSON that was hashed stays as it is, so that verification names it.
    content: Any = {"unreadable": row["content"]}
    with suppress(ValueError):  # broken JSON, or values that canonical JSON cannot hold
        read = json.loads(row["content"])
        if canonical_json(read).decode() == row["content"]:
            content = read
    return record_of(Decision, row, content=content)


ROWS_PER_QUERY = 2000
# units of a rollout that no look has asked about for so long leave the memory; asked again, they are read again
IDLE_S = 900.0
BEFORE_ALL = 0  # a look that counted units has closed a block, so rows have numbers from 1 on

# A UnitCount's members; a tuple of these costs the garbage collector nothing.
Count = tuple[datetime | None, int, int | None]
Counts = dict[str, Count]  # by unit


@dataclass(slots=True, kw_only=True)
class _Book:
    """One rollout's units by stage, as its rows up to ``last`` say."""

    last: tuple[int, str] | None = None  # n_blocks and counts of a row
    stages: dict[int, Counts] = field(default_factory=dict)
    # One object for all units of a cohort.
    cohorts: dict[str | None, datetime | None] = field(default_factory=lambda: {None: None})
    asked_at: float = 0.0


class UnitCountTable:
    """ports.UnitCounts on the database: table rollout_units, with one row per look.

    The process that ticks keeps what the rows add up to in memory. What a transaction's rows say holds, whichever
    process wrote them. A unit may come back after weeks, so looking units up in a table costs a page of the disk for
    each, and more with each unit that a rollout has seen. Here a look appends what it changed, and a tick reads what
    was appended since the last one: both cost the same however long the rollout lasts
    (docs/adr/0010-a-tick-reads-first-and-writes-once.md).
    """

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
        """The sums from the rows alone: verification does not trust the memory."""
        book = _Book()
        _read_on(tx, rollout, book)
        units = [count for counts in book.stages.values() for count in counts.values()]
        return sum(cohort_start is not None for cohort_start, _, _ in units), sum(n_values for _, n_values, _ in units)

    def forget_idle(self) -> None:
        with self._one_at_a_time:
            for idle in [id for id, book in self._books.items() if time.monotonic() - book.asked_at > IDLE_S]:
                del self._books[idle]

    def forget_all(self) -> None:
        with self._one_at_a_time:
            self._books.clear()


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


_R = ROLLOUTS.c
BLOCKS_PER_QUERY = 500


class BlockTables:
    """ports.Blocks on the database."""

    def state(self, tx: Connection, rollout: str) -> EvidenceRow | None:
        return first(tx, _WATCH, partial(record_of, EvidenceRow), {"of": rollout})

    def states_of_active(self, tx: Connection) -> dict[str, EvidenceRow]:
        return {row["rollout"]: record_of(EvidenceRow, row) for row in tx.execute(_ACTIVE_WATCHES).mappings()}

    def put_state(self, tx: Connection, rollout: str, row: EvidenceRow) -> None:
        upsert(tx, WATCHES, [columns_of(row, rollout=rollout)])

    def add(self, tx: Connection, blocks: Sequence[StoredBlock]) -> None:
        if blocks:
            tx.execute(
                insert(BLOCKS),
                [{**{name: getattr(block, name) for name in _NAMES}, "content": block.text} for block in blocks],
            )

    def of_rollout(self, tx: Connection, rollout: str, *, kind: str | None = None) -> list[StoredBlock]:
        query = where_equal(_READ.where(BLOCKS.c.rollout == rollout).order_by(BLOCKS.c.seq), (BLOCKS.c.kind, kind))
        return [_block(row) for row in tx.execute(query)]

    def each(self, tx: Connection, rollout: str) -> Iterator[StoredBlock]:
        seq = -1
        while rows := tx.execute(_NEXT_BLOCKS, {"of": rollout, "after": seq}).all():
            yield from map(_block, rows)
            seq = rows[-1].seq


_NAMES = ("rollout", "seq", "kind", "content", "closed_at", "previous_hash", "hash")
_WATCH = select(WATCHES).where(WATCHES.c.rollout == bindparam("of"))
_ACTIVE_WATCHES = (
    select(WATCHES).join(ROLLOUTS, ROLLOUTS.c.id == WATCHES.c.rollout).where(ROLLOUTS.c.active_family.is_not(None))
)
_READ = select(*(BLOCKS.c[name] for name in _NAMES))
_NEXT_BLOCKS = (
    _READ.where(BLOCKS.c.rollout == bindparam("of"), BLOCKS.c.seq > bindparam("after"))
    .order_by(BLOCKS.c.seq)
    .limit(BLOCKS_PER_QUERY)
)


def _block(row: Sequence[Any]) -> StoredBlock:
    rollout, seq, kind, text, closed_at, previous_hash, hash = row
    return StoredBlock(
        rollout=rollout,
        seq=seq,
        kind=kind,
        content=_json_object(text),
        text=text,
        closed_at=closed_at,
        previous_hash=previous_hash,
        hash=hash,
    )


def _json_object(text: str) -> Any:
    """The content of a block; empty where the text is no JSON object any more, which its hash then shows."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
