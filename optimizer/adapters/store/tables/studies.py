"""Studies with their trials and their schedule, and the journal of what they asked models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, json_field, time_field


class StudyRow(Row):
    """Written by studies.py."""

    __tablename__ = "studies"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    # The family until the study ends, then NULL: one study per family.
    active_family: str | None = Field(default=None, unique=True)
    strategy: str
    aim: str
    status: str = Field(index=True)
    outcome: str | None = None
    seed: int
    budget: dict[str, Any] = json_field()
    definition: dict[str, Any] = json_field()
    dataset: dict[str, Any] | None = json_field(nullable=True)
    scorer_version: str | None = None
    champion: str
    winner: str | None = None
    confirmation: dict[str, Any] | None = json_field(nullable=True)
    spend: dict[str, Any] = json_field()
    stop_requested: bool = False
    error: str | None = None
    simulated_clock: bool = False
    mlflow_run_id: str | None = None
    trigger: dict[str, Any] | None = json_field(nullable=True)  # why it started; NULL when a user asked for it
    findings: dict[str, Any] | None = json_field(nullable=True)  # what strategies measured beside the trials
    created_by: str
    created_at: datetime = time_field(index=True)
    started_at: datetime | None = time_field(nullable=True)
    finished_at: datetime | None = time_field(nullable=True)


class TrialRow(Row):
    """Written by studies.py."""

    __tablename__ = "trials"
    study: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    variant: str
    proposer: str
    params: dict[str, Any] = json_field()
    status: str
    n: int = 0
    n_errors: int = 0
    score: float | None = None
    cost_usd: float = 0.0
    p95_ms: float | None = None
    n_calls: int = 0
    started_at: datetime | None = time_field(nullable=True)
    finished_at: datetime | None = time_field(nullable=True)
    mlflow_run_id: str | None = None


class TrialResultRow(Row):
    """Written by studies.py: one row per (study, purpose, variant, example)."""

    __tablename__ = "trial_results"
    study: str = Field(primary_key=True)
    purpose: str = Field(primary_key=True)  # search or confirmation
    variant: str = Field(primary_key=True)
    example: str = Field(primary_key=True)
    score: float | None = None
    output: str | None = None
    error: str | None = None
    cost_usd: float = 0.0
    latency_ms: float | None = None
    from_journal: bool = False
    call_key: str | None = None
    n_retries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    judgement: dict[str, Any] | None = json_field(nullable=True)  # the judge's words on the output, and its reasoning
    answered_by: str | None = None


class TierAnswersRow(Row):
    """Written by studies.py: what every tier made of a study's training examples, as numbers;
    of no text and no example's id.
    """

    __tablename__ = "tier_answers"
    study: str = Field(primary_key=True)
    tiers: list[str] = json_field()
    rows: list[dict[str, Any]] = json_field()


class LmCallRow(Row):
    """Written by journal.py: the journal, one row per attempt on the wire."""

    __tablename__ = "lm_calls"
    __table_args__ = (
        Index("ix_lm_calls_key_status", "key", "status"),
        # All of ``spend``: it is asked before every call.
        Index("ix_lm_calls_study", "study", "status", "cost_usd", "reserved_usd"),
    )
    id: str = Field(primary_key=True)
    key: str
    study: str | None = None
    family: str | None = None
    purpose: str  # search, confirmation, proposer, evaluation, timing, judge, monitor, serving, rehearsal (a drill)
    model: str
    attempt: int
    status: str  # sent, settled, failed, lost
    temperature: float = 0.0
    request: dict[str, Any] | None = json_field(nullable=True)
    answer: dict[str, Any] | None = json_field(nullable=True)
    error: str | None = None
    reserved_usd: float
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    sent_at: datetime = time_field()
    settled_at: datetime | None = time_field(nullable=True)


class ScheduleRow(Row):
    """Written by studies.py: that a person lets a family's studies start by themselves, and when."""

    __tablename__ = "schedules"
    family: str = Field(primary_key=True)
    cron: str | None = None  # NULL: the file's times, or none
    from_file: bool = False
    holdout: bool = False
    strategy: str | None = None  # NULL, as with the aim: as the file says
    aim: str | None = None
    reason: str
    by: str
    since: datetime = time_field()
