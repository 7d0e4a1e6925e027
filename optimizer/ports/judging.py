"""What is known of how far judges agree with people, and what they were asked to do."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from optimizer.core.evaluation.judging.agreement import CalibrationRecord
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.ports.transaction import Transaction


class Calibrations(Protocol):
    def add(self, tx: Transaction, record: CalibrationRecord) -> None: ...
    def latest(self, tx: Transaction, family: str) -> CalibrationRecord | None: ...
    def history(self, tx: Transaction, family: str) -> list[CalibrationRecord]:
        """The latest first."""


class JudgeRuns(Protocol):
    def add(self, tx: Transaction, run: JudgeRun) -> None: ...
    def get(self, tx: Transaction, id: str) -> JudgeRun | None: ...
    def unfinished(self, tx: Transaction) -> list[JudgeRun]:
        """The oldest first."""

    def latest(self, tx: Transaction, family: str, limit: int) -> list[JudgeRun]:
        """The newest first."""

    def spent_since(self, tx: Transaction, since: datetime) -> list[RunSpend]:
        """What each run has spent as a whole that had not ended before ``since``, by the journal."""

    def update(self, tx: Transaction, id: str, **changes: Any) -> JudgeRun:
        """Raises NotFound."""
