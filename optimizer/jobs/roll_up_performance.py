"""Sums up interactions and feedback per day, variant and model, so that history stays readable when old events are pruned."""

from __future__ import annotations

from datetime import timedelta

from optimizer.ports import Clock, Store


def roll_up_performance(*, store: Store, clock: Clock, days: int = 2) -> list[str]:
    """Writes the sums of today and the days before it (UTC; ``days`` in all) and returns them, oldest first.

    Yesterday is included, since its last events come in after the last roll-up before midnight. Each day is a transaction,
    which only writes: summing up a day of events takes seconds, and nobody else could write meanwhile.
    """
    today = clock.now().date()
    wanted = [(today - timedelta(days=back)).isoformat() for back in reversed(range(days))]
    for day in wanted:
        with store.read() as tx:
            rows = store.performance.day_sums(tx, day)
        store.write(lambda tx, day=day, rows=rows: store.performance.put_day(tx, day, rows))  # type: ignore[misc]
    return wanted
