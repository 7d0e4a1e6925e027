"""Sums of what was reported, by minute, hour and day, and how far they reach.

A variant, a model or another part of a key is "" where it is unknown or there is none: NULL has no place in a key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text

from optimizer.adapters.store.tables.table import table
from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.feedback.pipeline_record import PipelineRecord, PipelineSums
from optimizer.core.feedback.traffic_sums import TrafficSum
from optimizer.ports import DaySums

SCORED_BY_JUDGES = text("source = 'judge' AND n_score > 0")
_WATCH_OF_A_CHAMPION: dict[str, Any] = {
    "family": str,
    "reign": int,  # seq of the champion
    "state": str,  # JSON, floats in full
    "read_until": datetime,
}

# Written by variants.py: daily roll-up per family, variant and model.
VARIANT_PERFORMANCE = table("variant_performance", DaySums, ("family", "variant", "model", "day"))

# Written by minute_stats.py: sums per family, variant, model, source and minute of receipt.
MINUTE_STATS = table("minute_stats", MinuteSums, ("family", "minute", "variant", "model", "source"))

# Written by minute_stats.py, in the transaction of the minutes: their sums by hour and day. The family is "" for all
# families together.
STAT_SUMS = table(
    "stat_sums",
    MinuteSums,
    ("family", "minutes", "start", "variant", "model", "source"),
    Index("ix_stat_sums_judged", "family", "minutes", "start", "n_score", sqlite_where=SCORED_BY_JUDGES),
    without=("minute",),
    minutes=int,  # 60 or 1440
    start=datetime,
)

# Written by events.py, in the transaction of the events: their sums by rollout and arm.
ARM_STATS = table(
    "arm_stats",
    None,
    ("family", "rollout", "variant", "role"),
    family=str,
    rollout=str,
    variant=str,
    role=str,
    n_interactions=int,
    n_errors=int,
    n_latency=int,
    latency_sum_ms=float,
    cost_usd=float,
    n_labelled=int,
    n_success=int,
    n_scored=int,
    score_sum=float,
)

# Written by traffic_sums.py: sums per family, variant, source and minute, hour or day of receipt, and the units they
# are of, by hash.
TRAFFIC_SUMS = table("traffic_sums", TrafficSum, ("family", "minutes", "start", "variant", "source"))

# Written by minute_stats.py: what a content pipeline reported about one item.
PIPELINE_RECORDS = table("pipeline_records", PipelineRecord, ("id",), Index(None, "received_at"))

# Written by minute_stats.py, in the transaction of the records: their sums per hour of receipt. Where and why a
# pipeline ended is "" outside early exits, and where none was reported.
PIPELINE_HOURS = table(
    "pipeline_hours",
    PipelineSums,
    ("hour", "processing_type", "content_type", "exit_checkpoint", "exit_reason"),
    hour=datetime,
    processing_type=str,
    content_type=str,
    exit_checkpoint=str,
    exit_reason=str,
)

# Written by minute_stats.py: how far a roll-up has read, or when the last rollback drill ran.
WATERMARKS = table("watermarks", None, ("name",), name=str, at=datetime)

# Written by minute_stats.py: one per family, for the current champion.
DRIFT_DETECTORS = table("drift_detectors", None, ("family",), **_WATCH_OF_A_CHAMPION)

# Written by minute_stats.py: one per family, for the last switch of champion that no evidence spoke for.
SWITCH_WATCHES = table("switch_watches", None, ("family",), **_WATCH_OF_A_CHAMPION)
