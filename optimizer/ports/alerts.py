"""What people are told, and what they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    id: str
    kind: str
    detail: str
    level: Literal["info", "warning", "critical"]
    opened_at: datetime
    family: str | None = None
    subject: str = ""
    closed_at: datetime | None = None


class Alerts(Protocol):
    def open(self, tx: Transaction, alert: Alert) -> bool:
        """False when the same (kind, family, subject) is already open."""

    def reword(self, tx: Transaction, alert: Alert) -> bool:
        """Gives the open one of the same (kind, family, subject) this detail; False where none is open or it says so already."""

    def close(self, tx: Transaction, kind: str, family: str | None, subject: str, at: datetime) -> int: ...
    def all(
        self, tx: Transaction, *, open_only: bool, kind: str | None = None, family: str | None = None, subject: str | None = None
    ) -> list[Alert]:
        """The newest first; of one kind, family or subject where one is named."""


class Audit(Protocol):
    def add(
        self,
        tx: Transaction,
        *,
        at: datetime,
        actor: str,
        action: str,
        family: str | None,
        subject: str,
        detail: Mapping[str, Any],
        request_id: str | None = None,
    ) -> None: ...
    def page(self, tx: Transaction, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]: ...
    def of_subject(self, tx: Transaction, subject: str) -> list[dict[str, Any]]:
        """Everything that was done to one thing, in order."""
