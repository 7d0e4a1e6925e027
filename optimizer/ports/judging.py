"""What is known of how far judges agree with people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from optimizer.core.evaluation.judging.agreement import Agreement
from optimizer.core.evaluation.judging.calibration import Calibration
from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """A calibration with what was measured of it, and who asked for it."""

    id: str
    family: str
    calibration: Calibration
    agreement: Agreement
    created_by: str


class Calibrations(Protocol):
    def add(self, tx: Transaction, record: CalibrationRecord) -> None: ...
    def latest(self, tx: Transaction, family: str) -> CalibrationRecord | None: ...
    def history(self, tx: Transaction, family: str) -> list[CalibrationRecord]:
        """The latest first."""
