"""Keys of the API, what they have used, and who came without one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, json_field, time_field


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
