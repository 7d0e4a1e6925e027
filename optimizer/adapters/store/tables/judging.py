"""How far a judge is believed, and what it is asked to do in the background."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, json_field, time_field


class JudgeCalibrationRow(Row):
    """Written by examples.py: how far a judge agreed with people, and the map from its scores to ratings."""

    __tablename__ = "judge_calibrations"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    judge: str
    calibration: dict[str, Any] = json_field()
    agreement: dict[str, Any] = json_field()
    created_by: str
    created_at: datetime = time_field()


class JudgeRunRow(Row):
    """Written by runs.py: what was asked for in the background outside studies."""

    __tablename__ = "judge_runs"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    kind: str
    judge: str
    request: dict[str, Any] = json_field()
    budget: dict[str, Any] = json_field()
    status: str = Field(index=True)
    n: int
    n_done: int = 0
    stop_requested: bool = False
    result: dict[str, Any] | None = json_field(nullable=True)
    error: str | None = None
    error_type: str | None = None
    created_by: str
    created_at: datetime = time_field()
    started_at: datetime | None = time_field(nullable=True)
    finished_at: datetime | None = time_field(nullable=True)
