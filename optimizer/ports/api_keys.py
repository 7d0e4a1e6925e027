"""The keys of the api."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from optimizer.ports.transaction import Transaction


class ApiKeys(Protocol):
    def add(self, tx: Transaction, name: str, role: str, secret_hash: str, at: datetime) -> None: ...
    def revoke(self, tx: Transaction, name: str, at: datetime) -> None: ...
    def all(self, tx: Transaction) -> list[dict[str, Any]]:
        """name, role, secret_hash, created_at, revoked_at."""
