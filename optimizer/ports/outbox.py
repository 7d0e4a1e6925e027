"""What waits to be mirrored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    seq: int
    topic: str
    subject: str
    payload: Mapping[str, Any]
    attempts: int


class Outbox(Protocol):
    def add(self, tx: Transaction, topic: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None:
        """An unsent item of the same topic and subject is replaced: the mirror reads the store, not the payload, for bulk."""

    def due(self, tx: Transaction, now: datetime, limit: int) -> list[OutboxItem]: ...
    def sent(self, tx: Transaction, seq: int, at: datetime) -> None: ...
    def failed(self, tx: Transaction, seq: int, error: str, not_before: datetime) -> None: ...
    def backlog(self, tx: Transaction) -> int: ...
    def last(self, tx: Transaction, topic: str, subject: str) -> Mapping[str, Any] | None:
        """The payload of the newest item, sent or not."""
