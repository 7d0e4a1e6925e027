"""Table api_keys: names, roles and the hashes of secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from optimizer.adapters.database.engine import insert_new, table
from optimizer.adapters.database.tables import ApiKeyRow
from optimizer.core.errors import Conflict, NotFound

KEYS = table(ApiKeyRow)


class ApiKeyTable:
    """ports.ApiKeys on the database."""

    def add(self, tx: Connection, name: str, role: str, secret_hash: str, at: datetime) -> None:
        row = {"name": name, "role": role, "secret_hash": secret_hash, "created_at": at, "revoked_at": None}
        if not insert_new(tx, KEYS, [row]):
            raise Conflict(
                f"There is a key named {name!r} already, maybe a revoked one: decisions name it as their actor. Choose another name."
            )

    def revoke(self, tx: Connection, name: str, at: datetime) -> None:
        found = tx.execute(select(KEYS.c.revoked_at).where(KEYS.c.name == name)).first()
        if found is None:
            raise NotFound(f"There is no key named {name!r}; `detent keys list` shows those that exist.")
        if found.revoked_at is None:
            tx.execute(update(KEYS).where(KEYS.c.name == name).values(revoked_at=at))

    def all(self, tx: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in tx.execute(select(KEYS).order_by(KEYS.c.name)).mappings()]
