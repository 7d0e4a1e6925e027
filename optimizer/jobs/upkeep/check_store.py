"""Reads every page of the store in advance, so that a damaged one is found before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from optimizer.jobs.ids import new_id
from optimizer.ports import Alert, Clock, Store

ALERT = "store_damaged"
REST = 49.0  # times what a table took: a fiftieth of one processor at the most


def check_store(store: Store, clock: Clock, rest: Callable[[float], bool]) -> None:
    """Opens the alert ``store_damaged`` at the first damage, and closes it when all tables are sound.

    ``rest``: waits for so many seconds between two tables; True where the check is to end.
    """
    began = monotonic()
    for damage in store.damage_by_tables():
        if damage:
            alert = Alert(
                id=new_id("al"),
                kind=ALERT,
                level="critical",
                opened_at=clock.now(),
                detail=(
                    f"The store's file is damaged: {'; '.join(damage)}. What touches that part answers 503. Put a"
                    " backup in its place."
                ),
            )
            store.write(lambda tx, alert=alert: store.alerts.open(tx, alert))  # type: ignore[misc]
            return
        if rest(REST * (monotonic() - began)):
            return
        began = monotonic()
    store.write(lambda tx: store.alerts.close(tx, ALERT, None, "", clock.now()))
