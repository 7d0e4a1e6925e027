"""Table alerts: at most one open alert per (kind, family, subject)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import AlertRow
from optimizer.ports import Alert

ALERTS = table(AlertRow)


class AlertTable:
    """ports.Alerts on the database."""

    def open(self, tx: Connection, alert: Alert) -> bool:
        if tx.execute(select(ALERTS.c.id).where(_open(alert.kind, alert.family, alert.subject))).first() is not None:
            return False
        tx.execute(insert(ALERTS), [{name: getattr(alert, name) for name in Alert.__dataclass_fields__}])
        return True

    def reword(self, tx: Connection, alert: Alert) -> bool:
        other = and_(_open(alert.kind, alert.family, alert.subject), ALERTS.c.detail != alert.detail)
        return tx.execute(update(ALERTS).where(other).values(detail=alert.detail)).rowcount > 0

    def close(self, tx: Connection, kind: str, family: str | None, subject: str, at: datetime) -> int:
        return tx.execute(update(ALERTS).where(_open(kind, family, subject)).values(closed_at=at)).rowcount

    def all(
        self, tx: Connection, *, open_only: bool, kind: str | None = None, family: str | None = None, subject: str | None = None
    ) -> list[Alert]:
        query = select(ALERTS).order_by(ALERTS.c.opened_at.desc(), ALERTS.c.id.desc())
        if open_only:
            query = query.where(ALERTS.c.closed_at.is_(None))
        for column, wanted in ((ALERTS.c.kind, kind), (ALERTS.c.family, family), (ALERTS.c.subject, subject)):
            if wanted is not None:
                query = query.where(column == wanted)
        return [Alert(**{name: row[name] for name in Alert.__dataclass_fields__}) for row in tx.execute(query).mappings()]


def _open(kind: str, family: str | None, subject: str) -> ColumnElement[bool]:
    a = ALERTS.c
    of_family = a.family.is_(None) if family is None else a.family == family
    return and_(a.kind == kind, of_family, a.subject == subject, a.closed_at.is_(None))
