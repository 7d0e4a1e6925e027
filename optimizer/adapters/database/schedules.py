"""Table schedules: where a person lets a family's studies start by themselves, and when."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, delete, select

from optimizer.adapters.database.engine import table, upsert
from optimizer.adapters.database.tables import ScheduleRow
from optimizer.core.schedule import StoredSchedule

SCHEDULES = table(ScheduleRow)


class ScheduleTable:
    """ports.Schedules on the database."""

    def put(self, tx: Connection, schedule: StoredSchedule) -> None:
        upsert(tx, SCHEDULES, [asdict(schedule)])

    def remove(self, tx: Connection, family: str) -> bool:
        return tx.execute(delete(SCHEDULES).where(SCHEDULES.c.family == family)).rowcount > 0

    def get(self, tx: Connection, family: str) -> StoredSchedule | None:
        row = tx.execute(select(SCHEDULES).where(SCHEDULES.c.family == family)).first()
        return None if row is None else StoredSchedule(**row._mapping)

    def all(self, tx: Connection) -> dict[str, StoredSchedule]:
        return {row.family: StoredSchedule(**row._mapping) for row in tx.execute(select(SCHEDULES).order_by(SCHEDULES.c.family))}
