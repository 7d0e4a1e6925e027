"""Table outbox: what MLflow and the alert channels still have to hear."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, insert, select, update

from optimizer.adapters.store.rows import first, record_of
from optimizer.adapters.store.tables import OutboxRow
from optimizer.ports import OutboxItem

OUTBOX = OutboxRow.__table__
_INSERT = insert(OUTBOX)
_DROP_UNSENT = delete(OUTBOX).where(
    OUTBOX.c.topic == bindparam("of_topic"),
    OUTBOX.c.subject == bindparam("of_subject"),
    OUTBOX.c.sent_at.is_(None),
)
READ_LATER = "rollout"  # the topic whose newest message is compared with the record when a rollout is verified


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
        o = OUTBOX.c
        query = (
            select(OUTBOX)
            .where(o.sent_at.is_(None), o.not_before <= now, o.topic.in_(topics))
            .order_by(o.seq)
            .limit(limit)
        )
        return [_item(row) for row in tx.execute(query).mappings()]

    def oldest(self, tx: Connection, topic: str) -> OutboxItem | None:
        o = OUTBOX.c
        query = select(OUTBOX).where(o.sent_at.is_(None), o.topic == topic).order_by(o.seq).limit(1)
        return first(tx, query, _item)

    def sent(self, tx: Connection, seq: int, at: datetime) -> None:
        tx.execute(
            update(OUTBOX)
            .where(OUTBOX.c.seq == seq)
            .values(sent_at=at, attempts=OUTBOX.c.attempts + 1, last_error=None)
        )

    def failed(self, tx: Connection, seq: int, error: str, not_before: datetime) -> None:
        again = {"attempts": OUTBOX.c.attempts + 1, "last_error": error, "not_before": not_before}
        tx.execute(update(OUTBOX).where(OUTBOX.c.seq == seq).values(**again))

    def last(self, tx: Connection, topic: str, subject: str) -> Mapping[str, Any] | None:
        o = OUTBOX.c
        query = select(o.payload).where(o.topic == topic, o.subject == subject).order_by(o.seq.desc()).limit(1)
        payload: Mapping[str, Any] | None = tx.execute(query).scalar()
        return payload

    def backlog(self, tx: Connection, *, topics: Collection[str]) -> int:
        unsent = select(func.count()).select_from(OUTBOX).where(OUTBOX.c.sent_at.is_(None), OUTBOX.c.topic.in_(topics))
        return tx.execute(unsent).scalar_one()

    def n_old(self, tx: Connection, before: datetime) -> int:
        return int(tx.execute(select(func.count()).select_from(OUTBOX).where(_sent_before(before))).scalar() or 0)

    def prune(self, tx: Connection, before: datetime, limit: int) -> int:
        old = select(OUTBOX.c.seq).where(_sent_before(before)).order_by(OUTBOX.c.seq).limit(limit)
        return tx.execute(delete(OUTBOX).where(OUTBOX.c.seq.in_(old))).rowcount

    def discard(self, tx: Connection, topic: str) -> int:
        return tx.execute(delete(OUTBOX).where(OUTBOX.c.sent_at.is_(None), OUTBOX.c.topic == topic)).rowcount


def _sent_before(before: datetime) -> ColumnElement[bool]:
    newest = select(func.max(OUTBOX.c.seq)).where(OUTBOX.c.topic == READ_LATER).group_by(OUTBOX.c.subject)
    return and_(OUTBOX.c.sent_at < before, OUTBOX.c.seq.not_in(newest))


_item = partial(record_of, OutboxItem)
