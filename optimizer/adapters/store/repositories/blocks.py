"""Tables cohort_blocks and rollout_watches: what the tick has closed, and what it knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import columns_of, first, narrowed, record_of
from optimizer.adapters.store.tables import CohortBlockRow, RolloutWatchRow
from optimizer.core.rollout.blocks import StoredBlock
from optimizer.ports import EvidenceRow

BLOCKS = CohortBlockRow.__table__
WATCHES = RolloutWatchRow.__table__
BLOCKS_PER_QUERY = 500


class BlockTables:
    """ports.Blocks on the database."""

    def state(self, tx: Connection, rollout: str) -> EvidenceRow | None:
        return first(tx, _WATCH, partial(record_of, EvidenceRow), {"of": rollout})

    def put_state(self, tx: Connection, rollout: str, row: EvidenceRow) -> None:
        upsert(tx, WATCHES, [columns_of(row, rollout=rollout)])

    def add(self, tx: Connection, blocks: Sequence[StoredBlock]) -> None:
        if blocks:
            tx.execute(
                insert(BLOCKS),
                [{**{name: getattr(block, name) for name in _NAMES}, "content": block.text} for block in blocks],
            )

    def of_rollout(self, tx: Connection, rollout: str, *, kind: str | None = None) -> list[StoredBlock]:
        of_rollout = _READ.where(BLOCKS.c.rollout == rollout).order_by(BLOCKS.c.seq)
        query = narrowed(of_rollout, (BLOCKS.c.kind, kind))
        return [_block(row) for row in tx.execute(query)]

    def each(self, tx: Connection, rollout: str) -> Iterator[StoredBlock]:
        seq = -1
        while rows := tx.execute(_NEXT, {"of": rollout, "after": seq}).all():
            yield from map(_block, rows)
            seq = rows[-1].seq


_NAMES = ("rollout", "seq", "kind", "content", "closed_at", "previous_hash", "hash")
_WATCH = select(WATCHES).where(WATCHES.c.rollout == bindparam("of"))
_READ = select(*(BLOCKS.c[name] for name in _NAMES))
_NEXT = (
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
        content=_content(text),
        text=text,
        closed_at=closed_at,
        previous_hash=previous_hash,
        hash=hash,
    )


def _content(text: str) -> Any:
    """The content of a block; empty where the text is no JSON object any more, which its hash then shows."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
