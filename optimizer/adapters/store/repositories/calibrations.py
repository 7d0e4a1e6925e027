"""Table judge_calibrations: how far the judges of a family agreed with people, one row each time it was measured."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, insert, select

from optimizer.adapters.store.tables import JudgeCalibrationRow
from optimizer.core.evaluation.judging.agreement import agreement_of
from optimizer.core.evaluation.judging.calibration import calibration_of
from optimizer.ports import CalibrationRecord

CALIBRATIONS = JudgeCalibrationRow.__table__


class CalibrationTable:
    """ports.Calibrations on the database."""

    def add(self, tx: Connection, record: CalibrationRecord) -> None:
        row = {
            "id": record.id,
            "family": record.family,
            "judge": record.calibration.judge,
            "calibration": record.calibration.as_data(),
            "agreement": record.agreement.as_data(),
            "created_by": record.created_by,
            "created_at": record.calibration.fitted_at,
        }
        tx.execute(insert(CALIBRATIONS), [row])

    def latest(self, tx: Connection, family: str) -> CalibrationRecord | None:
        return next(iter(self.history(tx, family)), None)

    def history(self, tx: Connection, family: str) -> list[CalibrationRecord]:
        newest = CALIBRATIONS.c.created_at.desc(), CALIBRATIONS.c.id.desc()
        query = select(CALIBRATIONS).where(CALIBRATIONS.c.family == family).order_by(*newest)
        return [_record(row) for row in tx.execute(query).mappings()]


def _record(row: RowMapping) -> CalibrationRecord:
    return CalibrationRecord(
        id=row["id"],
        family=row["family"],
        calibration=calibration_of(row["calibration"]),
        agreement=agreement_of(row["agreement"]),
        created_by=row["created_by"],
    )
