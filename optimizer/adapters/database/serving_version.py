"""Table serving_version: one row that says how often what is served has changed, and when the worker last looked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import ServingVersionRow

VERSION = table(ServingVersionRow)
ROW = 1


class ServingVersionTable:
    """ports.ServingVersion on the database."""

    def bump(self, tx: Connection) -> None:
        if not self._change(tx, version=VERSION.c.version + 1):
            tx.execute(insert(VERSION), [{"id": ROW, "version": 1}])

    def read(self, tx: Connection) -> tuple[int, datetime | None]:
        row = tx.execute(select(VERSION.c.version, VERSION.c.ticked_at).where(VERSION.c.id == ROW)).first()
        return (0, None) if row is None else (row.version, row.ticked_at)

    def ticked(self, tx: Connection, at: datetime) -> None:
        if not self._change(tx, ticked_at=at):
            tx.execute(insert(VERSION), [{"id": ROW, "version": 0, "ticked_at": at}])

    def _change(self, tx: Connection, **columns: Any) -> bool:
        return tx.execute(update(VERSION).where(VERSION.c.id == ROW).values(**columns)).rowcount > 0
