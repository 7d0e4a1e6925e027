"""Reads what a champion usually does from the minute sums, for whoever freezes it."""

from __future__ import annotations

from datetime import datetime

from optimizer.core.baseline import ENOUGH, HISTORY, RECENT, Baseline, baseline_of
from optimizer.ports import Store, Transaction


def champion_baseline(store: Store, tx: Transaction, family: str, variant: str, now: datetime) -> Baseline:
    """From the last 24 hours when they hold at least 500 of the variant's requests, else from the last 30 days.

    ``now`` is real time. Requests of the last minute or two are not summed up yet and do not count.
    """
    recent = baseline_of(store.minute_stats.of_family(tx, family, now - RECENT, variant=variant, source=""), now=now)
    if recent.n >= ENOUGH:
        return recent
    return baseline_of(store.minute_stats.of_family(tx, family, now - HISTORY, variant=variant, source=""), now=now)
