"""Watches what content pipelines report: a figure out of range over the last day raises one alert, with hysteresis."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from optimizer.content.core.records.report import (
    WINDOW_HOURS,
    Level,
    OutOfRange,
    WindowFigure,
    out_of_range,
    overall,
    total,
)
from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.feedback.pipeline_record import PipelineSums, Target
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.ports import Alert, Clock, Store, Transaction

OUT_OF_RANGE = "pipeline_out_of_range"


def watch_pipeline(store: Store, clock: Clock, targets: Mapping[str, Target]) -> list[OutOfRange]:
    """Keeps one open alert for each figure that is out of range; returns them. Reads the sums by hour alone.

    A figure that becomes worse is cleared at its level and raised at the other, so that the readers of a channel hear
    of it.
    """
    now = clock.now()

    def keep(tx: Transaction) -> list[OutOfRange]:
        sums = store.pipeline_stats.sums(tx, floor(now, HOUR) - timedelta(hours=WINDOW_HOURS - 1), ("processing_type",))
        before: dict[str, Level] = {}
        for alert in store.alerts.all(tx, open_only=True, kind=OUT_OF_RANGE):
            if alert.level != "info":
                before[alert.subject.rsplit(" ", 1)[0]] = alert.level
        # The figures that have targets, from sums by processing type.
        by_type = {key[0]: type_sums for key, type_sums in sums.items()}
        figures_of_all, both = overall(by_type), total(by_type.values())
        n_of = {
            "early_exit_rate": both.n - figures_of_all.quality_bypassed,
            "avg_time_savings": both.n_saved,
            "quality_score_avg": by_type.get("full", PipelineSums()).n_quality,
        }
        figures = ("bypass_rate", "early_exit_rate", "avg_time_savings", "quality_score_avg")
        wanted = out_of_range(
            {name: WindowFigure(value=getattr(figures_of_all, name), n=n_of.get(name, both.n)) for name in figures},
            targets,
            before,
        )
        alerts = [
            Alert(
                id=new_id("al"),
                kind=OUT_OF_RANGE,
                subject=f"{finding.figure} {finding.level}",
                level=finding.level,
                detail=finding.detail,
                opened_at=now,
            )
            for finding in wanted
        ]
        keep_alerts(tx, store, OUT_OF_RANGE, alerts, at=now)
        return wanted

    return store.write(keep)
