"""Table freezes: which families, or all, only serve their champions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from optimizer.adapters.database.engine import table, upsert
from optimizer.adapters.database.tables import FreezeRow
from optimizer.core.freezes import Freeze

FREEZES = table(FreezeRow)
_ALL = select(FREEZES).order_by(FREEZES.c.scope)


class FreezeTable:
    """ports.Freezes on the database."""

    def put(self, tx: Connection, scope: str, reason: str, by: str, at: datetime) -> None:
        upsert(tx, FREEZES, [{"scope": scope, "reason": reason, "by": by, "since": at}])

    def remove(self, tx: Connection, scope: str) -> bool:
        return tx.execute(delete(FREEZES).where(FREEZES.c.scope == scope)).rowcount > 0

    def all(self, tx: Connection) -> list[Freeze]:
        return [Freeze(scope=row.scope, reason=row.reason, by=row.by, since=row.since) for row in tx.execute(_ALL)]
