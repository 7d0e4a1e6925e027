"""Sums of what was reported, by minute, hour and day, and how far they reach."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, Utc, json_field, time_field

SCORED_BY_JUDGES = text("source = 'judge' AND n_score > 0")


class VariantPerformanceRow(Row):
    """Written by variants.py: daily roll-up per family, variant and model."""

    __tablename__ = "variant_performance"
    family: str = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    model: str = Field(primary_key=True, default="")
    day: str = Field(primary_key=True)  # YYYY-MM-DD, UTC
    n_interactions: int
    n_errors: int
    mean_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    cost_usd: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    n_labelled: int
    n_success: int
    n_scored: int
    mean_score: float | None = None


class MinuteStatRow(Row):
    """Written by minute_stats.py: sums per family, variant, model, source and minute of receipt."""

    __tablename__ = "minute_stats"
    family: str = Field(primary_key=True)
    minute: datetime = Field(sa_type=Utc, primary_key=True)
    variant: str = Field(primary_key=True)  # "" where unknown: NULL has no place in a key
    model: str = Field(primary_key=True, default="")
    source: str = Field(primary_key=True, default="")  # "" for interactions; user, person, judge, system for feedback
    n: int
    n_errors: int = 0
    n_latency: int = 0
    latency_sum_ms: float = 0.0
    latency_histogram: dict[str, Any] = json_field()  # bucket (see core/base/minute_sums.py) -> n
    n_streamed: int = 0
    n_streamed_errors: int = 0
    first_token_sum_ms: float = 0.0
    first_token_histogram: dict[str, Any] = json_field()
    n_cost: int = 0
    cost_sum_usd: float = 0.0
    cost_histogram: dict[str, Any] = json_field()
    n_tokens: int = 0  # interactions that name their tokens
    input_tokens: int = 0
    output_tokens: int = 0
    n_success: int = 0  # events with ``success``
    success_sum: int = 0
    n_score: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0
    n_low_scores: int = 0
    n_with_parts: int = 0
    n_retried: int = 0
    n_tools_ignored: int = 0
    issues: dict[str, Any] = json_field()  # found by checks -> n
    scores: dict[str, Any] = json_field()  # judge -> score -> n


class StatSumRow(Row):
    """Written by minute_stats.py, in the transaction of the minutes: their sums by hour and day."""

    __tablename__ = "stat_sums"
    __table_args__ = (
        Index("ix_stat_sums_judged", "family", "minutes", "start", "n_score", sqlite_where=SCORED_BY_JUDGES),
    )
    family: str = Field(primary_key=True)  # "" for all families together
    minutes: int = Field(primary_key=True)  # 60 or 1440
    start: datetime = Field(sa_type=Utc, primary_key=True)
    variant: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    n: int
    n_errors: int
    n_latency: int
    latency_sum_ms: float
    latency_histogram: dict[str, Any] = json_field()
    n_streamed: int
    n_streamed_errors: int
    first_token_sum_ms: float
    first_token_histogram: dict[str, Any] = json_field()
    n_cost: int
    cost_sum_usd: float
    cost_histogram: dict[str, Any] = json_field()
    n_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    n_success: int
    success_sum: int
    n_score: int
    score_sum: float
    score_squares: float
    n_low_scores: int
    n_with_parts: int
    n_retried: int
    n_tools_ignored: int
    issues: dict[str, Any] = json_field()
    scores: dict[str, Any] = json_field()


class ArmStatRow(Row):
    """Written by events.py, in the transaction of the events: their sums by rollout and arm."""

    __tablename__ = "arm_stats"
    family: str = Field(primary_key=True)
    rollout: str = Field(primary_key=True, default="")  # "" outside a rollout: NULL has no place in a key
    variant: str = Field(primary_key=True, default="")
    role: str = Field(primary_key=True, default="")
    n_interactions: int
    n_errors: int
    n_latency: int
    latency_sum_ms: float
    cost_usd: float
    n_labelled: int
    n_success: int
    n_scored: int
    score_sum: float


class TrafficSumRow(Row):
    """Written by traffic_sums.py: sums per family, variant, source and minute, hour or day of receipt, and the units
    they are of, by hash.
    """

    __tablename__ = "traffic_sums"
    family: str = Field(primary_key=True)
    minutes: int = Field(primary_key=True)  # 1, 60, 360 or 1440
    start: datetime = Field(sa_type=Utc, primary_key=True)
    variant: str = Field(primary_key=True)  # "" where unknown: NULL has no place in a key
    source: str = Field(primary_key=True)  # "" for interactions
    n: int
    n_with_unit: int
    n_success: int
    success_sum: int
    n_score: int
    score_sum: float
    level: int  # of the units a share of 2 ** -level is kept
    units: dict[str, Any] = json_field()  # hash > what the unit reported (see core/feedback/traffic_sums.py)


class PipelineRecordRow(Row):
    """Written by minute_stats.py: what a content pipeline reported about one item."""

    __tablename__ = "pipeline_records"
    id: str = Field(primary_key=True)
    received_at: datetime = time_field(index=True)
    processing_type: str  # full, lightweight, early_exit
    content_type: str
    quality_score: float | None = None
    processing_time_s: float | None = None
    exit_checkpoint: str = ""
    exit_reason: str = ""
    exit_confidence: float | None = None
    time_saved_share: float | None = None
    config_version: str = Field(default="", sa_column_kwargs={"server_default": ""})
    satisfaction: float | None = None
    failed: bool | None = None


class PipelineHourRow(Row):
    """Written by minute_stats.py, in the transaction of the records: their sums per hour of receipt."""

    __tablename__ = "pipeline_hours"
    hour: datetime = Field(sa_type=Utc, primary_key=True)
    processing_type: str = Field(primary_key=True)
    content_type: str = Field(primary_key=True)
    exit_checkpoint: str = Field(primary_key=True, default="")  # "" outside early exits, and where none was reported
    exit_reason: str = Field(primary_key=True, default="")
    n: int
    n_quality: int
    quality_sum: float
    n_time: int
    time_sum_s: float
    n_saved: int
    saved_share_sum: float
    n_saved_time: int
    saved_time_sum_s: float
    n_confidence: int
    confidence_sum: float


class WatermarkRow(Row):
    """Written by minute_stats.py: how far a roll-up has read, or when the last rollback drill ran."""

    __tablename__ = "watermarks"
    name: str = Field(primary_key=True)
    at: datetime = time_field()


class DriftDetectorRow(Row):
    """Written by minute_stats.py: one per family, for the current champion."""

    __tablename__ = "drift_detectors"
    family: str = Field(primary_key=True)
    reign: int  # seq of the champion
    state: str  # JSON, floats in full
    read_until: datetime = time_field()


class SwitchWatchRow(Row):
    """Written by minute_stats.py: one per family, for the last switch of champion that no evidence spoke for."""

    __tablename__ = "switch_watches"
    family: str = Field(primary_key=True)
    reign: int  # seq of the champion
    state: str  # JSON, floats in full
    read_until: datetime = time_field()
