"""Tables cohort_blocks, rollout_units and rollout_watches: what the tick has closed, whom it has counted, and what it knows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from optimizer.adapters.database.engine import table, upsert
from optimizer.adapters.database.hashed_rows import chunks
from optimizer.adapters.database.tables import CohortBlockRow, RolloutUnitRow, RolloutWatchRow
from optimizer.core.blocks import StoredBlock, content_text
from optimizer.ports import StoredWatch, UnitCount

BLOCKS = table(CohortBlockRow)
UNITS = table(RolloutUnitRow)
WATCHES = table(RolloutWatchRow)


class BlockTables:
    """ports.Blocks on the database."""

    def watch(self, tx: Connection, rollout: str) -> StoredWatch | None:
        row = tx.execute(select(WATCHES).where(WATCHES.c.rollout == rollout)).mappings().first()
        return None if row is None else StoredWatch(n_blocks=row["n_blocks"], state=row["state"], updated_at=row["updated_at"])

    def put_watch(self, tx: Connection, rollout: str, watch: StoredWatch) -> None:
        columns = {"rollout": rollout, "n_blocks": watch.n_blocks, "state": watch.state, "updated_at": watch.updated_at}
        upsert(tx, WATCHES, [columns])

    def add(self, tx: Connection, blocks: Sequence[StoredBlock]) -> None:
        if blocks:
            tx.execute(insert(BLOCKS), [_columns(block) for block in blocks])

    def of_rollout(self, tx: Connection, rollout: str, *, kind: str | None = None) -> list[StoredBlock]:
        query = select(BLOCKS).where(BLOCKS.c.rollout == rollout).order_by(BLOCKS.c.seq)
        if kind is not None:
            query = query.where(BLOCKS.c.kind == kind)
        return [_block(row) for row in tx.execute(query).mappings()]

    def units(self, tx: Connection, rollout: str, stage: int, units: Collection[str]) -> dict[str, UnitCount]:
        found = {}
        for some in chunks(sorted(units)):
            query = select(UNITS).where(UNITS.c.rollout == rollout, UNITS.c.stage == stage, UNITS.c.unit_hmac.in_(some))
            for row in tx.execute(query).mappings():
                found[row["unit_hmac"]] = UnitCount(
                    cohort_start=row["cohort_start"], n_values=row["n_values"], last_minute=row["last_minute"]
                )
        return found

    def put_units(self, tx: Connection, rollout: str, counts: Mapping[tuple[int, str], UnitCount]) -> None:
        rows = [
            {
                "rollout": rollout,
                "stage": stage,
                "unit_hmac": unit,
                "cohort_start": count.cohort_start,
                "n_values": count.n_values,
                "last_minute": count.last_minute,
            }
            for (stage, unit), count in counts.items()
        ]
        upsert(tx, UNITS, rows)


def _columns(block: StoredBlock) -> dict[str, Any]:
    return {**{name: getattr(block, name) for name in StoredBlock.__dataclass_fields__}, "content": content_text(block.content)}


def _block(row: RowMapping) -> StoredBlock:
    return StoredBlock(**{**{name: row[name] for name in StoredBlock.__dataclass_fields__}, "content": _content(row["content"])})


def _content(text: str) -> Any:
    """The content of a block; what is not the text that was hashed is handed on as it is, for verification to name."""
    try:
        content = json.loads(text)
        if isinstance(content, dict) and content_text(content) == text:
            return content
    except ValueError:  # broken JSON, or NaN
        pass
    return {"unreadable": text}
