"""Interactions (one served request as reported) and FeedbackEvents (one observed outcome), as stored. ``report.py`` reads what clients send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Source = Literal["user", "person", "judge", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """To which Variant, Rollout and stage an event belongs, as its assignment says."""

    family: str
    variant: str | None = None
    rollout: str | None = None
    role: str | None = None
    stage: float | None = None
    cohort_start: datetime | None = None
    unit_hmac: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    id: str
    arm: Arm
    occurred_at: datetime
    received_at: datetime
    content_hash: str
    input: Mapping[str, Any] | None = None
    output: str | None = None
    model: str | None = None
    latency_ms: float | None = None
    time_to_first_token_ms: float | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    conversation: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    parts: Sequence[Mapping[str, Any]] | None = None  # the calls it was made of, where a policy made several


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterParts:
    """Calls of an interaction that came after its answer: those of an audit, and those that were still in work."""

    family: str
    interaction: str
    parts: Sequence[Mapping[str, Any]]
    cost_usd: float
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEvent:
    id: str
    arm: Arm
    occurred_at: datetime
    received_at: datetime
    content_hash: str
    source: Source
    interaction: str | None = None
    score: float | None = None
    success: bool | None = None
    label: str | None = None
    expected: Mapping[str, Any] | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """How many labels of one field and source a Variant has had, and their mean in [0, 1]."""

    variant: str | None
    field: Literal["success", "score"]
    source: Source
    n: int
    mean: float
