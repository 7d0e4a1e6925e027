"""What every ports.Calibrations must do."""

from __future__ import annotations

from dataclasses import fields, replace

from optimizer.adapters.store import Database
from optimizer.core.evaluation.judging.calibration import Agreement, Calibration, IntervalEstimate
from optimizer.ports import CalibrationRecord
from tests.stores import FAMILY, minutes, reading, writing

FIGURES = {
    each.name: IntervalEstimate(value=0.5, low=0.25, high=None) for each in fields(Agreement) if each.name != "n"
}
CALIBRATION = Calibration(
    judge="j_1",
    method="platt",
    n=25,
    spearman=0.5,
    kappa=None,
    calibration_error=0.125,
    fitted_at=minutes(0),
    points=((0.0, 0.1), (1.0, 0.9)),
)
RECORD = CalibrationRecord(
    id="jc_1", family=FAMILY, calibration=CALIBRATION, agreement=Agreement(n=25, **FIGURES), created_by="anna"
)


def test_a_family_keeps_every_calibration_and_the_latest_comes_first(database: Database) -> None:
    later = replace(RECORD, id="jc_2", calibration=replace(CALIBRATION, judge="j_2", fitted_at=minutes(5)))
    other = replace(RECORD, id="jc_3", family="other")
    for record in (later, RECORD, other):
        writing(database).calibrations.add(record)
    assert reading(database).calibrations.history(FAMILY) == [later, RECORD]
    assert reading(database).calibrations.history("none") == []
