"""What decides which Variant is served: champions, overrides, freezes, and the version of it all."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from optimizer.core.serving.freezes import Freeze
from optimizer.core.serving.rollout import Champion
from optimizer.ports.transaction import Transaction


class Champions(Protocol):
    def current(self, tx: Transaction, family: str) -> Champion | None: ...
    def reigning(self, tx: Transaction) -> list[Champion]:
        """The current champion of every family, by family."""

    def history(self, tx: Transaction, family: str) -> list[Champion]: ...
    def put(self, tx: Transaction, champion: Champion) -> None:
        """Ends the current reign at ``champion.since`` and starts this one."""


class Overrides(Protocol):
    def put(
        self, tx: Transaction, family: str, unit_hmac: str, variant: str, until: datetime, by: str, at: datetime
    ) -> None: ...
    def active(self, tx: Transaction, now: datetime) -> list[tuple[str, str, str, datetime]]:
        """(family, unit_hmac, variant, until)."""


class Freezes(Protocol):
    """``scope``: a family, or "" for all."""

    def put(self, tx: Transaction, scope: str, reason: str, by: str, at: datetime) -> None: ...
    def remove(self, tx: Transaction, scope: str) -> bool:
        """False when there was none."""

    def all(self, tx: Transaction) -> list[Freeze]: ...


class ServingVersion(Protocol):
    def bump(self, tx: Transaction) -> None: ...
    def read(self, tx: Transaction) -> tuple[int, datetime | None]:
        """(version, last tick)."""

    def ticked(self, tx: Transaction, at: datetime) -> None: ...
