"""Reads how a content pipeline did over the last hours, from the sums by hour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from optimizer.content.core.records.report import (
    Checkpoint,
    HourlyOverall,
    Overall,
    ProcessingWay,
    Status,
    TargetStanding,
    breakdown,
    checkpoints,
    content_types,
    overall,
    standings,
    total,
    trends,
    worst,
)
from optimizer.content.core.records.targets import TARGETS, Target
from optimizer.core.feedback.pipeline_record import PipelineSums, hour_of
from optimizer.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """``hours``: full hours of the clock, the present one included."""

    hours: int
    since: Annotated[datetime, Field(serialization_alias="from")]
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformancePage(Span):
    """Everything at once."""

    overall_metrics: Overall
    processing_breakdown: Mapping[str, ProcessingWay]
    content_type_breakdown: Mapping[str, Overall]
    checkpoint_analytics: Mapping[str, Checkpoint]
    quality_trends: Sequence[HourlyOverall]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceSummary(Span):
    """The figures that have targets beside them, and the worst status of all."""

    status: Status
    metrics: Mapping[str, TargetStanding]
    overall_metrics: Overall


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentTypes(Span):
    content_types: Mapping[str, Overall]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints(Span):
    checkpoints: Mapping[str, Checkpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityTrends(Span):
    quality_trends: Sequence[HourlyOverall]


class PerformanceReport:
    """One snapshot of the store; each method reads what it answers."""

    def __init__(
        self, tx: Transaction, *, store: Store, clock: Clock, hours: int, targets: Mapping[str, Target] = TARGETS
    ) -> None:
        self._tx, self._stats, self._targets = tx, store.pipeline_stats, targets
        self._hours, self._now = hours, clock.now()
        self.since: datetime = hour_of(self._now) - timedelta(hours=hours - 1)

    def page(self) -> PerformancePage:
        by_type = self._by_type()
        return PerformancePage(
            hours=self._hours,
            since=self.since,
            until=self._now,
            overall_metrics=overall(by_type),
            processing_breakdown=breakdown(by_type),
            content_type_breakdown=self._content_types(),
            checkpoint_analytics=self._checkpoints(by_type),
            quality_trends=self._trends(),
        )

    def summary(self) -> PerformanceSummary:
        found = overall(self._by_type())
        stand = standings(found, self._targets)
        return PerformanceSummary(
            hours=self._hours,
            since=self.since,
            until=self._now,
            status=worst(stand),
            metrics=stand,
            overall_metrics=found,
        )

    def content_types(self) -> ContentTypes:
        types = self._content_types()
        return ContentTypes(hours=self._hours, since=self.since, until=self._now, content_types=types)

    def checkpoints(self) -> Checkpoints:
        found = self._checkpoints(self._by_type())
        return Checkpoints(hours=self._hours, since=self.since, until=self._now, checkpoints=found)

    def trends(self) -> QualityTrends:
        return QualityTrends(hours=self._hours, since=self.since, until=self._now, quality_trends=self._trends())

    def _content_types(self) -> dict[str, Overall]:
        return content_types(self._stats.sums(self._tx, self.since, ("content_type", "processing_type")))

    def _checkpoints(self, by_type: Mapping[str, PipelineSums]) -> dict[str, Checkpoint]:
        exits = self._stats.sums(self._tx, self.since, ("exit_checkpoint", "exit_reason"), processing_type="early_exit")
        return checkpoints(exits, total(by_type.values()).n)

    def _trends(self) -> list[HourlyOverall]:
        return trends(self._stats.sums(self._tx, self.since, ("hour", "processing_type")))

    def _by_type(self) -> dict[str, PipelineSums]:
        return {key[0]: sums for key, sums in self._stats.sums(self._tx, self.since, ("processing_type",)).items()}
