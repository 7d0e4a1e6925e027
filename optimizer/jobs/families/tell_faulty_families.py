"""Keeps an alert open for each family whose file cannot be used, since the last good version hides the fault."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.core.base.errors import InvalidFamily
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.ports import Alert, Clock, Store

FAULTY = "family_file_faulty"


def tell_faulty_families(store: Store, clock: Clock, problems: Mapping[str, InvalidFamily]) -> None:
    """``problems``: by family; an alert closes once its file is good or gone."""
    with store.read() as tx:
        is_open = bool(store.alerts.all(tx, open_only=True, kind=FAULTY))
    if not problems and not is_open:
        return
    now = clock.now()
    alerts = [
        Alert(
            id=new_id("al"),
            kind=FAULTY,
            level="warning",
            family=name,
            opened_at=now,
            detail=f"The last good version serves, where there was one; detent family validate {name} lists every"
            f" fault. {problem.detail}",
        )
        for name, problem in problems.items()
    ]
    store.write(lambda tx: keep_alerts(tx, store, FAULTY, alerts, at=now))
