"""Deletes what is older than its retention, in small batches, so that nobody else waits long for the store. Sums by hour or day stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from optimizer.ports import Clock, Store, Transaction

BATCH = 1000  # rows per transaction
SENT_DAYS = 30  # messages that MLflow and the alert channels have taken
ACTOR = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long one kind of row is kept. ``days`` 0: for ever. ``prune`` deletes up to so many from before a time and returns how many."""

    rows: str  # their name, for the audit
    days: int
    prune: Callable[[Transaction, datetime, int], int]


def retentions(store: Store, *, pipeline_days: int) -> list[Retention]:
    """Everything that is pruned by age."""
    return [
        Retention(rows="pipeline_records", days=pipeline_days, prune=store.pipeline_stats.prune),
        Retention(rows="outbox", days=SENT_DAYS, prune=store.outbox.prune),
    ]


def prune_records(
    store: Store, clock: Clock, kept: Sequence[Retention], *, pause: Callable[[], bool] = lambda: False, batch: int = BATCH
) -> dict[str, int]:
    """Deletes what is due and returns how many rows of each kind. It cannot be undone, but from a backup; the audit says what went.

    Args:
        pause: called between two batches; True ends the pruning, which goes on at the next call.
    """
    pruned: dict[str, int] = {}
    for retention in kept:
        if retention.days == 0:
            continue
        before = clock.now() - timedelta(days=retention.days)
        n, more = 0, True
        while more:
            found = store.write(lambda tx, r=retention, before=before: r.prune(tx, before, batch))  # type: ignore[misc]
            n, more = n + found, found == batch and not pause()
        pruned[retention.rows] = n
        if n:
            detail = {"n": n, "before": before.isoformat(), "retain_days": retention.days, "undo": "none, but from a backup"}
            store.write(
                lambda tx, r=retention, detail=detail: store.audit.add(  # type: ignore[misc]
                    tx, at=clock.now(), actor=ACTOR, action="prune", family=None, subject=r.rows, detail=detail
                )
            )
    return pruned
