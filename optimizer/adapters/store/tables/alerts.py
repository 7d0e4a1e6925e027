"""What people and other systems are told, and what they did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer
from sqlmodel import Field

from optimizer.adapters.store.tables.row import NUMBERED_ONCE, Row, json_field, time_field


class AlertRow(Row):
    """Written by alerts.py. At most one open alert per (kind, family, subject)."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_closed_kind", "closed_at", "kind"),)  # the open ones, at every tick
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    family: str | None = None
    subject: str = ""
    detail: str
    level: str
    opened_at: datetime = time_field()
    closed_at: datetime | None = time_field(nullable=True)


class OutboxRow(Row):
    """Written by outbox.py: what MLflow and the alert channels still have to hear."""

    __tablename__ = "outbox"
    __table_kwargs__ = NUMBERED_ONCE  # a number is never used again: "sent" must not hit a later item
    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite"))
    topic: str
    subject: str
    payload: dict[str, Any] = json_field()
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime = time_field()
    not_before: datetime = time_field(index=True)
    sent_at: datetime | None = time_field(nullable=True, index=True)


class AuditRow(Row):
    """Written by alerts.py: every change an actor caused."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject", "seq"),)
    __table_kwargs__ = NUMBERED_ONCE
    seq: int | None = Field(default=None, primary_key=True, sa_type=BigInteger().with_variant(Integer, "sqlite"))
    at: datetime = time_field(index=True)
    actor: str
    action: str
    family: str | None = None
    subject: str = ""
    detail: dict[str, Any] = json_field()
    request_id: str | None = None
