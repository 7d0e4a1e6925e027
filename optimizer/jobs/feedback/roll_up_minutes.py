"""Sums up events per minute: what guardrails, triggers, alerts and analytics read instead of the events themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from optimizer.core.base.minute_sums import MinuteSums, minute_of
from optimizer.ports import Clock, Store, Transaction

MINUTES = "minute_stats"  # of the watermark: every minute before it is summed up
SETTLED = timedelta(
    seconds=60
)  # after its end nothing more is received in a minute: events are stamped before they are committed
HISTORY = timedelta(days=30)
CHUNK = timedelta(minutes=15)


def roll_up_minutes(store: Store, clock: Clock) -> datetime | None:
    """Sums up every minute that ended at least 60 s ago and is not yet; returns the watermark,
    None before the first event.

    The first run begins with the oldest event of the last 30 days. A chunk is read in a reading transaction, which
    blocks no writer, and then written with the watermark in one; a run that is killed or repeated leaves the same rows.
    """
    until = minute_of(clock.now() - SETTLED)
    while (chunk := _next(store, until)) is not None:
        start, end = chunk
        with store.read() as tx:
            rows = store.minute_stats.sums(tx, start, end)

        store.write(lambda tx, rows=rows, end=end: _keep(tx, store, rows, end), rows=len(rows) + 1)  # type: ignore[misc]
    with store.read() as tx:
        return store.minute_stats.watermark(tx, MINUTES)


def _keep(tx: Transaction, store: Store, rows: Sequence[MinuteSums], end: datetime) -> None:
    store.minute_stats.put(tx, rows)
    store.minute_stats.set_watermark(tx, MINUTES, end)


def _next(store: Store, until: datetime) -> tuple[datetime, datetime] | None:
    """The next stretch to sum up, from the first event after the watermark on; None when everything is."""
    with store.read() as tx:
        done = store.minute_stats.watermark(tx, MINUTES)
        if (
            done is not None and done > until
        ):  # the clock went back: what comes in now is summed up again, with what is there
            return until, until
        since = done if done is not None else minute_of(until - HISTORY)
        if since >= until:
            return None
        first = store.minute_stats.oldest(tx, since)
    if first is None and done is None:
        return None
    start = until if first is None else min(minute_of(first), until)
    return start, min(start + CHUNK, until)


def roll_up_performance(*, store: Store, clock: Clock, days: int = 2) -> list[str]:
    """Writes the sums of today and the days before it (UTC; ``days`` in all) and returns them, oldest first.

    Yesterday is included, since its last events come in after the last roll-up before midnight. Each day has its own
    transaction, which only writes: summing up a day of events inside it would block other writers for seconds.
    """
    today = clock.now().date()
    wanted = [(today - timedelta(days=back)).isoformat() for back in reversed(range(days))]
    for day in wanted:
        with store.read() as tx:
            rows = store.performance.day_sums(tx, day)
        store.write(lambda tx, day=day, rows=rows: store.performance.put_day(tx, day, rows))  # type: ignore[misc]
    return wanted
