"""What waits to be told to others: studies, rollouts and prompts to MLflow, alerts to people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    not_before: datetime
    last_error: str | None


class Outbox(Protocol):
    def add(self, tx: Transaction, topic: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None:
        """Replaces an unsent item of the same topic and subject: the mirror reads the store, not the
        payload, for bulk.
        """

    def due(self, tx: Transaction, now: datetime, limit: int, *, topics: Collection[str]) -> list[OutboxItem]:
        """Unsent items of these topics whose time has come, oldest first."""

    def oldest(self, tx: Transaction, topic: str) -> OutboxItem | None:
        """The first unsent item, due or not: where messages go out in their order, the others wait for it."""

    def sent(self, tx: Transaction, seq: int, at: datetime) -> None: ...
    def failed(self, tx: Transaction, seq: int, error: str, not_before: datetime) -> None: ...
    def withdraw(self, tx: Transaction, topic: str, subject: str) -> bool:
        """Deletes what waits unsent of this topic and subject; False where nothing does."""

    def backlog(self, tx: Transaction, *, topics: Collection[str]) -> int: ...
    def discard(self, tx: Transaction, topic: str) -> int:
        """Deletes the unsent rows of a topic to which nobody listens any more; returns how many."""

    def last(self, tx: Transaction, topic: str, subject: str) -> Mapping[str, Any] | None:
        """The payload of the newest item, sent or not."""
