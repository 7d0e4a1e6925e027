"""What is known of how far judges agree with people, and what was asked for in the background."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Protocol

from optimizer.core.evaluation.judging.calibration import CalibrationRecord
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.evaluation.run import QueuedRun, RunSummary
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.ports.transaction import Transaction


class Calibrations(Protocol):
    def add(self, tx: Transaction, record: CalibrationRecord) -> None: ...
    def history(self, tx: Transaction, family: str) -> list[CalibrationRecord]:
        """The latest first."""


class Runs(Protocol):
    def add(self, tx: Transaction, run: QueuedRun) -> None: ...
    def get(self, tx: Transaction, id: str) -> QueuedRun | None: ...
    def unfinished(self, tx: Transaction) -> list[QueuedRun]:
        """The oldest first."""

    def latest(
        self,
        tx: Transaction,
        families: Collection[str] | None,
        limit: int,
        *,
        start: int = 0,
        ended: bool | None = None,
        kind: str | None = None,
    ) -> list[RunSummary]:
        """Of these families, None: of all; the newest first, from that place on; ``ended``: only those that have, or
        have not; ``kind``: only those.
        """

    def latest_of_judge(self, tx: Transaction, family: str, limit: int) -> list[JudgeRun]:
        """The newest first."""

    def spent_since(self, tx: Transaction, since: datetime) -> list[RunSpend]:
        """What each run has spent as a whole that had not ended before ``since``, by the journal."""

    def update(self, tx: Transaction, id: str, **changes: Any) -> QueuedRun:
        """Raises NotFound."""
