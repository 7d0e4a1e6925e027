"""Keeps the open alerts of one kind what they should be by now, derived from what is stored,
so that a kill in between loses none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from optimizer.ports import Alert, Store, Transaction


def keep_alerts(
    tx: Transaction, store: Store, kind: str, wanted: Iterable[Alert], *, at: datetime, family: str | None = None
) -> list[Alert]:
    """Of ``kind`` (and ``family``) exactly ``wanted`` is open afterwards, each with its present detail;
    returns those that are new.
    """
    alerts = {(alert.family, alert.subject): alert for alert in wanted}
    for open_alert in store.alerts.all(tx, open_only=True, kind=kind, family=family):
        if (open_alert.family, open_alert.subject) not in alerts:
            store.alerts.close(tx, kind, open_alert.family, open_alert.subject, at)
    return [alert for alert in alerts.values() if not store.alerts.reword(tx, alert) and store.alerts.open(tx, alert)]
