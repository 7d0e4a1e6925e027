"""Sums up events per minute: what guardrails, triggers, alerts and analytics read instead of the events themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from optimizer.core.base.minute_sums import MinuteSums, floor
from optimizer.ports import Clock, Store, Transaction

MINUTES = "minute_stats"  # names a watermark: every minute before it is summed up
DAYS = "variant_performance"  # the same for days; its own day is summed up as far as it had come
# After its end nothing more is received in a minute: events are stamped before they are committed.
SETTLED = timedelta(seconds=60)
HISTORY = timedelta(days=30)
CHUNK = timedelta(minutes=15)


def roll_up_minutes(store: Store, clock: Clock, *, at_once: timedelta = CHUNK) -> datetime | None:
    """Sums up every minute that ended at least 60 s ago and is not summed up yet; returns the watermark.

    None before the first event. The first run begins with the oldest event of the last 30 days. A chunk is read in a
    reading transaction, which blocks no writer, and then written with the watermark in one; a run that is killed or
    repeated leaves the same rows.
    """
    until = floor(clock.now() - SETTLED, 1)
    for start, end in _chunks(store, until, lambda tx: store.minute_stats.watermark(tx, MINUTES), at_once):
        with store.read() as tx:
            rows = store.minute_stats.sums(tx, start, end)

        store.write(lambda tx, rows=rows, end=end: _keep(tx, store, rows, end), rows=len(rows) + 1)  # type: ignore[misc]
    with store.read() as tx:
        return store.minute_stats.watermark(tx, MINUTES)


def roll_up_traffic(store: Store, clock: Clock, *, at_once: timedelta = CHUNK) -> None:
    """Sums up ``traffic_sums`` in the same way, with their hours and days: triggers, forecasts and
    settings read them.
    """

    def done(tx: Transaction) -> datetime | None:
        span = store.traffic_sums.stretch(tx)
        return span[1] if span is not None else None

    for start, end in _chunks(store, floor(clock.now() - SETTLED, 1), done, at_once):
        with store.read() as tx:
            rows = store.traffic_sums.of_minutes(tx, start, end)

        store.write(
            lambda tx, rows=rows, start=start, end=end: store.traffic_sums.put(tx, rows, start, end),  # type: ignore[misc]
            rows=len(rows) + 1,
        )


def _keep(tx: Transaction, store: Store, rows: Sequence[MinuteSums], end: datetime) -> None:
    store.minute_stats.put(tx, rows)
    store.minute_stats.set_watermark(tx, MINUTES, end)


def _chunks(
    store: Store, until: datetime, done_until: Callable[[Transaction], datetime | None], at_once: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """The stretches to sum up, each from the first event after what is done on, once the one before it is kept."""
    while True:
        with store.read() as tx:
            done = done_until(tx)
            if done is not None and done > until:
                # the clock went back: events from now on are summed up again, with those that are there
                chunk = until, until
            else:
                since = done if done is not None else floor(until - HISTORY, 1)
                first = store.minute_stats.oldest(tx, since) if since < until else None
                if since >= until or (first is None and done is None):
                    return
                start = until if first is None else min(floor(first, 1), until)
                chunk = start, min(start + at_once, until)
        yield chunk


def roll_up_performance(*, store: Store, clock: Clock) -> list[str]:
    """Writes the sums of today, of yesterday (UTC) and of the days since the last time; returns these days in order.

    Yesterday is included, since its last events come in after the last roll-up before midnight. Each day has its own
    transaction, which only writes: summing up a day of events inside it would block other writers for seconds.
    """
    now = clock.now()
    today = now.date()
    with store.read() as tx:
        watermark = store.minute_stats.watermark(tx, DAYS)
    n_missed = (today - watermark.date()).days + 1 if watermark is not None else 0
    n_days = max(2, min(n_missed, HISTORY.days))
    days_missed = [(today - timedelta(days=back)).isoformat() for back in reversed(range(n_days))]
    for day in days_missed:
        with store.read() as tx:
            rows = store.performance.day_sums(tx, day)
        store.write(lambda tx, day=day, rows=rows: store.performance.put_day(tx, day, rows))  # type: ignore[misc]
    store.write(lambda tx: store.minute_stats.set_watermark(tx, DAYS, now))
    return days_missed
