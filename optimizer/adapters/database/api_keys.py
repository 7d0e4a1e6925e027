"""Table api_keys: names, what each key may do, and the hashes of secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import ApiKeyRow
from optimizer.core.access import ROLES, Access, KeyLimits
from optimizer.ports import KeyRecord

KEYS = table(ApiKeyRow)


class ApiKeyTable:
    """ports.ApiKeys on the database."""

    def add(self, tx: Connection, name: str, access: Access, secret_hash: str, at: datetime) -> None:
        row = {
            "name": name,
            "role": ",".join(access.roles),
            "sources": list(access.sources),
            "families": None if access.families is None else list(access.families),
            "expires_at": access.expires_at,
            "limits": access.limits.as_record(),
            "secret_hash": secret_hash,
            "created_at": at,
        }
        tx.execute(insert(KEYS), [row])

    def revoke(self, tx: Connection, name: str, at: datetime) -> None:
        tx.execute(update(KEYS).where(KEYS.c.name == name, KEYS.c.revoked_at.is_(None)).values(revoked_at=at))

    def remove(self, tx: Connection, name: str) -> None:
        tx.execute(delete(KEYS).where(KEYS.c.name == name))

    def replace_secret(
        self, tx: Connection, name: str, secret_hash: str, previous_hash: str | None, previous_until: datetime | None
    ) -> None:
        values = {"secret_hash": secret_hash, "previous_hash": previous_hash, "previous_until": previous_until}
        tx.execute(update(KEYS).where(KEYS.c.name == name).values(**values))

    def get(self, tx: Connection, name: str) -> KeyRecord | None:
        row = tx.execute(select(KEYS).where(KEYS.c.name == name)).mappings().first()
        return None if row is None else _record(dict(row))

    def all(self, tx: Connection) -> list[KeyRecord]:
        return [_record(dict(row)) for row in tx.execute(select(KEYS).order_by(KEYS.c.name)).mappings()]


def _record(row: dict[str, Any]) -> KeyRecord:
    """A role that this version does not know opens nothing: it is left out, and the key holds the others."""
    held = row.pop("role").split(",")
    access = Access(
        roles=tuple(role for role in ROLES if role in held),
        sources=tuple(row.pop("sources")),
        families=None if row["families"] is None else tuple(row["families"]),
        expires_at=row.pop("expires_at"),
        limits=KeyLimits(**row.pop("limits")),
    )
    del row["families"]
    return KeyRecord(access=access, **row)
