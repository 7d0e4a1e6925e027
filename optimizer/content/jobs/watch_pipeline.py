"""Watches what content pipelines report: a figure out of range over the last day is an alert,
raised once and cleared with hysteresis.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from optimizer.content.core.records.report import WINDOW_HOURS, Level, OutOfRange, out_of_range, readings
from optimizer.core.feedback.pipeline_record import Target, hour_of
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
        sums = store.pipeline_stats.sums(tx, hour_of(now) - timedelta(hours=WINDOW_HOURS - 1), ("processing_type",))
        before: dict[str, Level] = {}
        for alert in store.alerts.all(tx, open_only=True, kind=OUT_OF_RANGE):
            if alert.level != "info":
                before[alert.subject.rsplit(" ", 1)[0]] = alert.level
        wanted = out_of_range(readings({key[0]: type_sums for key, type_sums in sums.items()}), targets, before)
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
