"""Table audit: every change that an actor caused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from optimizer.adapters.database import cursors
from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import AuditRow

AUDIT = table(AuditRow)


class AuditTable:
    """ports.Audit on the database."""

    def add(
        self,
        tx: Connection,
        *,
        at: datetime,
        actor: str,
        action: str,
        family: str | None,
        subject: str,
        detail: Mapping[str, Any],
        request_id: str | None = None,
    ) -> None:
        row = {"at": at, "actor": actor, "action": action, "family": family, "subject": subject, "request_id": request_id}
        tx.execute(insert(AUDIT), [{**row, "detail": dict(detail)}])

    def page(self, tx: Connection, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        query = select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(limit + 1)
        if cursor is not None:
            (seq,) = cursors.decode(cursor, int)
            query = query.where(AUDIT.c.seq < seq)
        rows = [dict(row) for row in tx.execute(query).mappings()]
        return cursors.page(rows, limit, lambda row: (row["seq"],))

    def of_subject(self, tx: Connection, subject: str) -> list[dict[str, Any]]:
        query = select(AUDIT).where(AUDIT.c.subject == subject).order_by(AUDIT.c.seq)
        return [dict(row) for row in tx.execute(query).mappings()]
