"""Table overrides: units that get a named variant for testing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from optimizer.adapters.database.engine import table, upsert
from optimizer.adapters.database.tables import OverrideRow

OVERRIDES = table(OverrideRow)


class OverrideTable:
    """ports.Overrides on the database."""

    def put(self, tx: Connection, family: str, unit_hmac: str, variant: str, until: datetime, by: str, at: datetime) -> None:
        row = {"family": family, "unit_hmac": unit_hmac, "variant": variant, "until": until, "created_by": by, "created_at": at}
        upsert(tx, OVERRIDES, [row])

    def active(self, tx: Connection, now: datetime) -> list[tuple[str, str, str, datetime]]:
        o = OVERRIDES.c
        query = select(o.family, o.unit_hmac, o.variant, o.until).where(o.until > now).order_by(o.family, o.unit_hmac)
        return [(row.family, row.unit_hmac, row.variant, row.until) for row in tx.execute(query)]
