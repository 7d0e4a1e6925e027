"""Reads how a content pipeline did over the last hours, from the sums by hour alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from optimizer.content.core.records.record import UNNAMED
from optimizer.content.core.records.report import (
    Checkpoint,
    GuideTarget,
    HourlyOverall,
    Overall,
    ProcessingWay,
    Status,
    TargetStanding,
    breakdown,
    checkpoints,
    content_types,
    guide_targets,
    overall,
    standings,
    total,
    trends,
    worst,
)
from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.feedback.pipeline_record import PipelineSums
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.ports import Store, Transaction
from optimizer.ports.performance import Grouping


class PerformanceRequest(Request):
    hours: Annotated[
        int, Field(ge=1, le=24 * 90, description="So many hours back, the present one included; default 24")
    ] = 24
    by: Annotated[Literal["hour", "day"], Field(description="Rows of `quality_trends`; days are those of UTC")] = "hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """``hours``: full hours of the clock, the present one included."""

    hours: int
    since: Annotated[datetime, Field(alias="from")]
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceSummary(Span):
    """The figures that have targets beside them, and the worst status of all; ``guide_targets``: beside what the
    pipeline's guide hopes for.
    """

    status: Status
    metrics: Mapping[str, TargetStanding]
    overall_metrics: Overall
    guide_targets: Mapping[str, GuideTarget]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformancePage(PerformanceSummary):
    """Everything at once: the summary with the tables behind it."""

    processing_breakdown: Mapping[str, ProcessingWay]
    content_type_breakdown: Mapping[str, Overall]
    checkpoint_analytics: Mapping[str, Checkpoint]
    quality_trends: Sequence[HourlyOverall]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentTypes(Span):
    content_types: Mapping[str, Overall]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints(Span):
    checkpoints: Mapping[str, Checkpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityTrends(Span):
    quality_trends: Sequence[HourlyOverall]


def read_performance(context: Context, request: PerformanceRequest) -> PerformancePage:
    """How the pipeline did: overall, by content type, by checkpoint and hour by hour or day by day.

    All is answered from sums by hour of receipt, in hours of the clock in UTC. What was not measured is null.
    """
    with _sums(context, request) as sums:
        by_type = sums.by_type()
        by_checkpoint = sums.checkpoints(by_type)
        return PerformancePage(
            **sums.span,
            **_beside_targets(context, by_type, by_checkpoint),
            processing_breakdown=breakdown(by_type),
            content_type_breakdown=sums.content_types(),
            checkpoint_analytics=by_checkpoint,
            quality_trends=sums.trends(request.by),
        )


def read_performance_summary(context: Context, request: PerformanceRequest) -> PerformanceSummary:
    """The figures that have targets, each with its target and status: ok, warning, critical or no data."""
    with _sums(context, request) as sums:
        by_type = sums.by_type()
        return PerformanceSummary(**sums.span, **_beside_targets(context, by_type, sums.checkpoints(by_type)))


def _beside_targets(
    context: Context, by_type: Mapping[str, PipelineSums], by_checkpoint: Mapping[str, Checkpoint]
) -> dict[str, Any]:
    """What the page and its summary share."""
    figures = overall(by_type)
    stand = standings(figures, context.pipeline_targets())
    return {
        "status": worst(stand),
        "metrics": stand,
        "overall_metrics": figures,
        "guide_targets": guide_targets(figures, by_checkpoint),
    }


def read_content_types(context: Context, request: PerformanceRequest) -> ContentTypes:
    """How the pipeline did with each type of content."""
    with _sums(context, request) as sums:
        return ContentTypes(**sums.span, content_types=sums.content_types())


def read_checkpoints(context: Context, request: PerformanceRequest) -> Checkpoints:
    """How many items each checkpoint gave up early, how surely, and why."""
    with _sums(context, request) as sums:
        return Checkpoints(**sums.span, checkpoints=sums.checkpoints(sums.by_type()))


def read_quality_trends(context: Context, request: PerformanceRequest) -> QualityTrends:
    """The same figures hour by hour or day by day, oldest first; hours and days without a record are left out."""
    with _sums(context, request) as sums:
        return QualityTrends(**sums.span, quality_trends=sums.trends(request.by))


class _SpanSums:
    """The sums of the hours of ``span``, in one snapshot of the store."""

    def __init__(self, tx: Transaction, store: Store, span: Mapping[str, Any]) -> None:
        self._tx, self._stats, self.span = tx, store.pipeline_stats, span

    @cached_property
    def _cells(self) -> Mapping[tuple[Any, ...], PipelineSums]:
        """Read once, and added up for each table."""
        return self._of("processing_type", "content_type", "exit_checkpoint", "exit_reason")

    def by_type(self) -> dict[str, PipelineSums]:
        return {key[0]: sums for key, sums in self._added(lambda way, content, where, why: (way,)).items()}

    def content_types(self) -> dict[str, Overall]:
        return content_types(self._added(lambda way, content, where, why: (content, way)))

    def checkpoints(self, by_type: Mapping[str, PipelineSums]) -> dict[str, Checkpoint]:
        exits = self._added(
            lambda way, content, where, why: (where or UNNAMED, why or UNNAMED) if way == "early_exit" else None
        )
        return checkpoints(exits, total(by_type.values()).n)

    def _added(self, group: Callable[..., tuple[Any, ...] | None]) -> dict[tuple[Any, ...], PipelineSums]:
        sums: dict[tuple[Any, ...], PipelineSums] = {}
        for cell, own in self._cells.items():
            if (key := group(*cell)) is not None:
                sums[key] = sums.get(key, PipelineSums()) + own
        return dict(sorted(sums.items()))

    def trends(self, by: Literal["hour", "day"]) -> list[HourlyOverall]:
        return trends(self._of(by, "processing_type"))

    def _of(self, *by: Grouping) -> dict[tuple[Any, ...], PipelineSums]:
        return self._stats.sums(self._tx, self.span["since"], by)


@contextmanager
def _sums(context: Context, request: PerformanceRequest) -> Iterator[_SpanSums]:
    now = context.clock.now()
    span = {"hours": request.hours, "since": floor(now, HOUR) - timedelta(hours=request.hours - 1), "until": now}
    with context.store.read() as tx:
        yield _SpanSums(tx, context.store, span)
