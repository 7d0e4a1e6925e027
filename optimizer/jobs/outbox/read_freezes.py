"""Reads when families were frozen, by the alerts that freezes leave."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from optimizer.core.serving.rollout import ALERT, Gap
from optimizer.ports import Alert, Store, Transaction


def ended_freezes(tx: Transaction, store: Store, family: str) -> list[Gap]:
    """When this family, or all families, were frozen and are no more, newest first, by the alerts of the freezes."""
    return [
        Gap(since=a.opened_at, until=a.closed_at)
        for a in store.alerts.all(tx, open_only=False, kind=ALERT)
        if a.family in (None, family) and a.closed_at is not None
    ]


def freezes_of(tx: Transaction, store: Store, family: str, now: datetime) -> list[Gap]:
    """The same, with those that still hold up to ``now``."""
    return freezes_by(store.alerts.all(tx, open_only=False, kind=ALERT), family, now)


def freezes_by(alerts: Iterable[Alert], family: str, now: datetime) -> list[Gap]:
    """Those of one family, by the alerts of all freezes."""
    return [Gap(since=a.opened_at, until=a.closed_at or now) for a in alerts if a.family in (None, family)]
