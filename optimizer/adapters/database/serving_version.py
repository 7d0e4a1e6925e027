"""Table serving_version: one row that says how often what is served has changed, and when the worker last looked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import ServingVersionRow

VERSION = table(ServingVersionRow)
ROW = 1
# Built once: every look at what is served asks for it, and building one takes longer than running it.
_READ = select(VERSION.c.version, VERSION.c.ticked_at).where(VERSION.c.id == ROW)
_TICKED = update(VERSION).where(VERSION.c.id == ROW).values(ticked_at=bindparam("at"))
_BUMP = update(VERSION).where(VERSION.c.id == ROW).values(version=VERSION.c.version + 1)


class ServingVersionTable:
    """ports.ServingVersion on the database."""

    def bump(self, tx: Connection) -> None:
        if not tx.execute(_BUMP).rowcount:
            tx.execute(insert(VERSION), [{"id": ROW, "version": 1}])

    def read(self, tx: Connection) -> tuple[int, datetime | None]:
        row = tx.execute(_READ).first()
        return (0, None) if row is None else (row.version, row.ticked_at)

    def ticked(self, tx: Connection, at: datetime) -> None:
        if not tx.execute(_TICKED, {"at": at}).rowcount:
            tx.execute(insert(VERSION), [{"id": ROW, "version": 0, "ticked_at": at}])
