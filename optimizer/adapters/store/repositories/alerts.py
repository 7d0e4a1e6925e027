"""Tables alerts and audit: what needs a person, and every change that an actor caused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, insert, select, update

from optimizer.adapters.store import cursors
from optimizer.adapters.store.repositories.outbox import OutboxTable
from optimizer.adapters.store.rows import columns_of, record_of
from optimizer.adapters.store.tables import AlertRow, AuditRow
from optimizer.ports import Alert, AuditEntry
from optimizer.ports.alerts import ALERT_TOPIC, AlertEvent, told

ALERTS = AlertRow.__table__
AUDIT = AuditRow.__table__


class AlertTable:
    """ports.Alerts on the database: at most one open alert per (kind, family, subject).

    Each raise and each clear is put into the outbox, in one transaction.
    """

    def __init__(self, outbox: OutboxTable) -> None:
        self._outbox = outbox

    def open(self, tx: Connection, alert: Alert) -> bool:
        if tx.execute(select(ALERTS.c.id).where(_open(alert.kind, alert.family, alert.subject))).first() is not None:
            return False
        tx.execute(insert(ALERTS), [columns_of(alert)])
        self._tell(tx, alert, "raised", alert.opened_at)
        return True

    def reword(self, tx: Connection, alert: Alert) -> bool:
        other = and_(_open(alert.kind, alert.family, alert.subject), ALERTS.c.detail != alert.detail)
        return tx.execute(update(ALERTS).where(other).values(detail=alert.detail)).rowcount > 0

    def close(self, tx: Connection, kind: str, family: str | None, subject: str, at: datetime) -> int:
        alerts = self._read(tx, select(ALERTS).where(_open(kind, family, subject)))
        if alerts:
            tx.execute(update(ALERTS).where(ALERTS.c.id.in_([alert.id for alert in alerts])).values(closed_at=at))
        for alert in alerts:
            self._tell(tx, replace(alert, closed_at=at), "cleared", at)
        return len(alerts)

    def all(
        self,
        tx: Connection,
        *,
        open_only: bool,
        kind: str | None = None,
        family: str | None = None,
        subject: str | None = None,
    ) -> list[Alert]:
        wanted = {
            name: value
            for name, value in (("kind", kind), ("family", family), ("subject", subject))
            if value is not None
        }
        return self._read(tx, _all(open_only, tuple(wanted)), {f"of_{name}": value for name, value in wanted.items()})

    def _read(self, tx: Connection, query: Select[Any], values: Mapping[str, str] | None = None) -> list[Alert]:
        return [record_of(Alert, row) for row in tx.execute(query, values).mappings()]

    def _tell(self, tx: Connection, alert: Alert, event: AlertEvent, at: datetime) -> None:
        self._outbox.add(tx, ALERT_TOPIC, f"{alert.id} {event}", told(alert, event), at)


@cache
def _all(open_only: bool, named: tuple[str, ...]) -> Select[Any]:
    """Built once: every tick asks for them, and building one takes longer than running it."""
    query = select(ALERTS).order_by(ALERTS.c.opened_at.desc(), ALERTS.c.id.desc())
    if open_only:
        query = query.where(ALERTS.c.closed_at.is_(None))
    return query.where(*(ALERTS.c[name] == bindparam(f"of_{name}") for name in named))


def _open(kind: str, family: str | None, subject: str) -> ColumnElement[bool]:
    a = ALERTS.c
    of_family = a.family.is_(None) if family is None else a.family == family
    return and_(a.kind == kind, of_family, a.subject == subject, a.closed_at.is_(None))


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
    ) -> None:
        row = {
            "at": at,
            "actor": actor,
            "action": action,
            "family": family,
            "subject": subject,
        }
        tx.execute(insert(AUDIT), [{**row, "detail": dict(detail)}])

    def page(self, tx: Connection, cursor: str | None, limit: int) -> tuple[list[AuditEntry], str | None]:
        query = select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(limit + 1)
        if cursor is not None:
            (seq,) = cursors.decode(cursor, int)
            query = query.where(AUDIT.c.seq < seq)
        rows = [cast(AuditEntry, dict(row)) for row in tx.execute(query).mappings()]
        return cursors.page(rows, limit, lambda row: (row["seq"],))

    def of_subject(self, tx: Connection, subject: str) -> list[AuditEntry]:
        query = select(AUDIT).where(AUDIT.c.subject == subject).order_by(AUDIT.c.seq)
        return [cast(AuditEntry, dict(row)) for row in tx.execute(query).mappings()]
