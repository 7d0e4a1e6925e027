"""Reads how a content pipeline did over the last hours, from the sums by hour alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from optimizer.content.core.records.report import (
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


class PerformanceReport:
    """One snapshot of the store; each method reads what it answers.

    ``hours``: full hours of the clock, the present one included.
    """

    def __init__(
        self, tx: Transaction, *, store: Store, clock: Clock, hours: int, targets: Mapping[str, Target] = TARGETS
    ) -> None:
        self._tx = tx
        self._targets = targets
        self._stats = store.pipeline_stats
        now = clock.now()
        self.since: datetime = hour_of(now) - timedelta(hours=hours - 1)
        self.span: dict[str, Any] = {"hours": hours, "from": self.since, "until": now}

    def page(self) -> dict[str, Any]:
        """Everything at once."""
        by_type = self._by_type()
        return {
            "overall_metrics": asdict(overall(by_type)),
            "processing_breakdown": breakdown(by_type),
            "content_type_breakdown": self.content_types(),
            "checkpoint_analytics": self.checkpoints(by_type),
            "quality_trends": self.trends(),
        }

    def summary(self) -> dict[str, Any]:
        """The figures that have targets beside them, and the worst status of all."""
        found = overall(self._by_type())
        stand = standings(found, self._targets)
        return {
            "status": worst(stand),
            "metrics": {name: asdict(one) for name, one in stand.items()},
            "overall_metrics": asdict(found),
        }

    def content_types(self) -> dict[str, Any]:
        return content_types(self._stats.sums(self._tx, self.since, ("content_type", "processing_type")))

    def checkpoints(self, by_type: dict[str, PipelineSums] | None = None) -> dict[str, Any]:
        n = total((by_type if by_type is not None else self._by_type()).values()).n
        exits = self._stats.sums(self._tx, self.since, ("exit_checkpoint", "exit_reason"), processing_type="early_exit")
        return {name: asdict(one) for name, one in checkpoints(exits, n).items()}

    def trends(self) -> list[dict[str, Any]]:
        return trends(self._stats.sums(self._tx, self.since, ("hour", "processing_type")))

    def _by_type(self) -> dict[str, PipelineSums]:
        return {key[0]: sums for key, sums in self._stats.sums(self._tx, self.since, ("processing_type",)).items()}
