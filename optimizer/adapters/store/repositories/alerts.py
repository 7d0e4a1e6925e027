"""Tables alerts and alert_silences: what needs a person, and what of it sends no message for a while; audit: every
change that an actor caused; outbox: what MLflow and the alert channels still have to hear.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, insert, select, update

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import columns_of, first, page_of, position_of, record_of
from optimizer.adapters.store.tables.operators import ALERT_SILENCES as SILENCES, ALERTS, AUDIT, OUTBOX
from optimizer.ports import Alert, AlertSilence, AuditEntry, OutboxItem
from optimizer.ports.alerts import ALERT_TOPIC, AlertEvent, payload_of

_INSERT = insert(OUTBOX)
_DROP_UNSENT = delete(OUTBOX).where(
    OUTBOX.c.topic == bindparam("of_topic"),
    OUTBOX.c.subject == bindparam("of_subject"),
    OUTBOX.c.sent_at.is_(None),
)


class OutboxTable:
    """ports.Outbox on the database."""

    def add(self, tx: Connection, topic: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None:
        # Replaced by a new row, not in place: a process that is sending the old one will mark a number that is gone.
        tx.execute(_DROP_UNSENT, {"of_topic": topic, "of_subject": subject})
        row = {
            "topic": topic,
            "subject": subject,
            "payload": dict(payload),
            "attempts": 0,
            "created_at": at,
            "not_before": at,
        }
        tx.execute(_INSERT, row)

    def due(self, tx: Connection, now: datetime, limit: int, *, topics: Collection[str]) -> list[OutboxItem]:
        query = _unsent(topics).where(_O.not_before <= now).limit(limit)
        return [_item(row) for row in tx.execute(query).mappings()]

    def unsent(self, tx: Connection, *, topics: Collection[str]) -> list[OutboxItem]:
        return [_item(row) for row in tx.execute(_unsent(topics)).mappings()]

    def oldest(self, tx: Connection, topic: str) -> OutboxItem | None:
        return first(tx, select(OUTBOX).where(_O.sent_at.is_(None), _O.topic == topic).order_by(_O.seq).limit(1), _item)

    def sent(self, tx: Connection, seq: int, at: datetime) -> None:
        tx.execute(
            update(OUTBOX)
            .where(OUTBOX.c.seq == seq)
            .values(sent_at=at, attempts=OUTBOX.c.attempts + 1, last_error=None)
        )

    def failed(self, tx: Connection, seq: int, error: str, not_before: datetime) -> None:
        again = {"attempts": OUTBOX.c.attempts + 1, "last_error": error, "not_before": not_before}
        tx.execute(update(OUTBOX).where(OUTBOX.c.seq == seq).values(**again))

    def withdraw(self, tx: Connection, topic: str, subject: str) -> bool:
        return tx.execute(_DROP_UNSENT, {"of_topic": topic, "of_subject": subject}).rowcount > 0

    def last(self, tx: Connection, topic: str, subject: str) -> Mapping[str, Any] | None:
        query = select(_O.payload).where(_O.topic == topic, _O.subject == subject).order_by(_O.seq.desc()).limit(1)
        payload: Mapping[str, Any] | None = tx.execute(query).scalar()
        return payload

    def backlog(self, tx: Connection, *, topics: Collection[str]) -> int:
        unsent = select(func.count()).select_from(OUTBOX).where(OUTBOX.c.sent_at.is_(None), OUTBOX.c.topic.in_(topics))
        return tx.execute(unsent).scalar_one()

    def discard(self, tx: Connection, topic: str) -> int:
        return tx.execute(delete(OUTBOX).where(OUTBOX.c.sent_at.is_(None), OUTBOX.c.topic == topic)).rowcount


_item = partial(record_of, OutboxItem)


_O = OUTBOX.c


def _unsent(topics: Collection[str]) -> Select[Any]:
    return select(OUTBOX).where(_O.sent_at.is_(None), _O.topic.in_(topics)).order_by(_O.seq)


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
        most: int | None = None,
    ) -> list[Alert]:
        wanted = {
            name: value
            for name, value in (("kind", kind), ("family", family), ("subject", subject))
            if value is not None
        }
        query = _all(open_only, tuple(wanted))
        query = query if most is None else query.limit(most)
        return self._read(tx, query, {f"of_{name}": value for name, value in wanted.items()})

    def kinds(self, tx: Connection) -> set[str]:
        return set(tx.execute(select(ALERTS.c.kind).distinct()).scalars())

    def closed(self, tx: Connection, families: Collection[str] | None, start: int, most: int) -> list[Alert]:
        a = ALERTS.c
        query = select(ALERTS).where(a.closed_at.is_not(None)).order_by(a.closed_at.desc(), a.id.desc())
        query = query if families is None else query.where(a.family.in_(sorted(families)))
        return self._read(tx, query.limit(most).offset(start))

    def closed_since(self, tx: Connection, since: datetime) -> list[Alert]:
        a = ALERTS.c
        return self._read(tx, select(ALERTS).where(a.closed_at >= since).order_by(a.closed_at, a.id))

    def silence(self, tx: Connection, silence: AlertSilence) -> None:
        upsert(tx, SILENCES, [columns_of(silence)])

    def end_silence(self, tx: Connection, rule: str, family: str) -> bool:
        return tx.execute(delete(SILENCES).where(SILENCES.c.rule == rule, SILENCES.c.family == family)).rowcount > 0

    def silences(self, tx: Connection, now: datetime) -> list[AlertSilence]:
        query = select(SILENCES).where(SILENCES.c.until > now).order_by(SILENCES.c.until)
        return [record_of(AlertSilence, row) for row in tx.execute(query).mappings()]

    def _read(self, tx: Connection, query: Select[Any], values: Mapping[str, str] | None = None) -> list[Alert]:
        return [record_of(Alert, row) for row in tx.execute(query, values).mappings()]

    def _tell(self, tx: Connection, alert: Alert, event: AlertEvent, at: datetime) -> None:
        self._outbox.add(tx, ALERT_TOPIC, f"{alert.id} {event}", payload_of(alert, event), at)


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
        who = {"actor": actor, "action": action, "family": family, "subject": subject}
        tx.execute(insert(AUDIT), [{"at": at, **who, "detail": dict(detail)}])

    def page(self, tx: Connection, cursor: str | None, limit: int) -> tuple[list[AuditEntry], str | None]:
        query = select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(limit + 1)
        if cursor is not None:
            (seq,) = position_of(cursor, int)
            query = query.where(AUDIT.c.seq < seq)
        rows = [cast(AuditEntry, dict(row)) for row in tx.execute(query).mappings()]
        return page_of(rows, limit, lambda row: (row["seq"],))

    def of_subject(self, tx: Connection, subject: str) -> list[AuditEntry]:
        query = select(AUDIT).where(AUDIT.c.subject == subject).order_by(AUDIT.c.seq)
        return [cast(AuditEntry, dict(row)) for row in tx.execute(query).mappings()]
