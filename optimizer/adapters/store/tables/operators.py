"""What people and other systems are told, and what they did; keys of the API, what they have used, and who came
without one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, text
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


class AlertSilenceRow(Row):
    """Written by alerts.py: alerts of a rule, of a family or of a rule in a family that send no message until then."""

    __tablename__ = "alert_silences"
    rule: str = Field(primary_key=True, default="")  # "" for all of the family's
    family: str = Field(primary_key=True, default="")  # "" for all families
    until: datetime = time_field()
    reason: str
    by: str
    since: datetime = time_field()


_UNSENT = text("sent_at IS NULL")


class OutboxRow(Row):
    """Written by alerts.py: what MLflow and the alert channels still have to hear."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_unsent", "topic", "sent_at", sqlite_where=_UNSENT),)
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


class ApiKeyRow(Row):
    """Written by api_keys.py.

    Only the SHA-256 of the secret is kept, and after a rotation for a while that of the one before it.
    """

    __tablename__ = "api_keys"
    name: str = Field(primary_key=True)
    role: str  # at most one of each ladder, with commas between
    secret_hash: str = Field(index=True)
    created_at: datetime = time_field()
    revoked_at: datetime | None = time_field(nullable=True)
    sources: list[str] = json_field()
    families: list[str] | None = json_field(nullable=True)
    expires_at: datetime | None = time_field(nullable=True)
    limits: dict[str, Any] = json_field()
    previous_hash: str | None = None
    previous_until: datetime | None = time_field(nullable=True)
    keyless_until: datetime | None = time_field(nullable=True)


class CallerRow(Row):
    """Written by api_keys.py: who sent requests without a key, or was refused, in the last day."""

    __tablename__ = "callers"
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    n_requests: int
    last_at: datetime = time_field()


class KeyUsageRow(Row):
    """Written by api_keys.py: the running window alone."""

    __tablename__ = "key_usage"
    key: str = Field(primary_key=True)
    limit: str = Field(primary_key=True)
    window: datetime = time_field(primary_key=True)
    used: float
