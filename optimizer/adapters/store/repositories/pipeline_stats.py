"""Tables pipeline_records and pipeline_hours: what content pipelines report, and its sums by hour of receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import narrowed
from optimizer.adapters.store.tables import PipelineHourRow, PipelineRecordRow
from optimizer.core.feedback.pipeline_record import SUMS, PipelineRecord, PipelineSums, hour_of, sums_of
from optimizer.ports.performance import Grouping

RECORDS = PipelineRecordRow.__table__
HOURS = PipelineHourRow.__table__


class PipelineStatTables:
    """ports.PipelineStats on the database."""

    def add(self, tx: Connection, records: Sequence[PipelineRecord]) -> None:
        if not records:
            return
        tx.execute(insert(RECORDS), [asdict(record) for record in records])
        sums: dict[tuple[Any, ...], PipelineSums] = {}
        for record in records:
            # In the order of the primary key. Where and why belongs to early exits only.
            where = (record.exit_checkpoint, record.exit_reason) if record.processing_type == "early_exit" else ("", "")
            key = (hour_of(record.received_at), record.processing_type, record.content_type, *where)
            sums[key] = sums.get(key, PipelineSums()) + sums_of(record)
        names = [column.name for column in HOURS.primary_key.columns]
        rows = [{**dict(zip(names, key, strict=True)), **asdict(total)} for key, total in sums.items()]
        upsert(tx, HOURS, rows, add=SUMS)

    def sums(
        self, tx: Connection, since: datetime, by: Sequence[Grouping], *, processing_type: str | None = None
    ) -> dict[tuple[Any, ...], PipelineSums]:
        groups = [HOURS.c[name] for name in by]
        query = select(*groups, *(func.sum(HOURS.c[name]).label(name) for name in SUMS)).where(HOURS.c.hour >= since)
        query = narrowed(query, (HOURS.c.processing_type, processing_type))
        rows = tx.execute(query.group_by(*groups).order_by(*groups)).mappings()
        return {tuple(row[name] for name in by): PipelineSums(**{name: row[name] for name in SUMS}) for row in rows}

    def records(self, tx: Connection, since: datetime, limit: int) -> list[PipelineRecord]:
        query = (
            select(RECORDS)
            .where(RECORDS.c.received_at >= since)
            .order_by(RECORDS.c.received_at.desc(), RECORDS.c.id.desc())
            .limit(limit)
        )
        return [PipelineRecord(**row) for row in tx.execute(query).mappings()][::-1]

    def n_old(self, tx: Connection, before: datetime) -> int:
        return int(
            tx.execute(select(func.count()).select_from(RECORDS).where(RECORDS.c.received_at < before)).scalar() or 0
        )

    def prune(self, tx: Connection, before: datetime, limit: int) -> int:
        r = RECORDS.c
        oldest = select(r.id).where(r.received_at < before).order_by(r.received_at).limit(limit)
        return tx.execute(delete(RECORDS).where(r.id.in_(oldest))).rowcount
