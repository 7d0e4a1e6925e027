"""Reads when families were frozen, by the alerts that freezes leave."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from optimizer.core.serving.rollout import ALERT, Gap
from optimizer.ports import Alert, Store, Transaction


def freezes_of(tx: Transaction, store: Store, family: str, now: datetime | None = None) -> list[Gap]:
    """When this family, or all families, were frozen, newest first, by the alerts of the freezes.

    ``now``: up to which those that still hold count; None: they do not.
    """
    return freezes_by(store.alerts.all(tx, open_only=False, kind=ALERT), family, now)


def freezes_by(alerts: Iterable[Alert], family: str, now: datetime | None) -> list[Gap]:
    """The same, by the alerts of all freezes."""
    return [
        Gap(since=a.opened_at, until=until)
        for a in alerts
        if a.family in (None, family) and (until := a.closed_at or now) is not None
    ]
