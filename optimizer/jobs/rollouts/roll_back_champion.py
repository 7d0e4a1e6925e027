"""Brings back the champion before the present one, at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import NotFound
from optimizer.core.rollout.verification import ROLLBACK
from optimizer.core.serving import champion
from optimizer.core.serving.rollout import Decision
from optimizer.jobs.record_change import ChangeReport, checked_reason, end_active_rollout, log_head, record_reign
from optimizer.ports import Alert, Clock, Store, Transaction


def roll_back_champion(
    family: str,
    *,
    actor: str,
    reason: str | None,
    store: Store,
    clock: Clock,
    expect: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    alert: Alert | None = None,
) -> ChangeReport:
    """Ends an active rollout and lets the reign below serve, in one transaction;
    a second time goes further down or is refused.

    Args:
        evidence: what the tick goes back on (``core/cross_check.holdback_evidence``); None where a person asks.
        alert: opened with it, where no person has asked.
    Raises:
        NotFound: the family has no champion.
        Conflict: nothing below, or ``expect`` (the variant that shall be replaced) does not reign.
    """
    why = checked_reason(reason)

    def change(tx: Transaction) -> tuple[ChangeReport, Decision | None]:
        history = store.champions.history(tx, family)
        if not history:
            raise NotFound(
                f"Family {family!r} has no champion. See the families with: detent family list.", family=family
            )
        at = clock.now()
        reign = champion.fall_back(history, expect=expect, at=at, by=actor, why=f"champion rollback: {why}")
        before = champion.reigning(history)
        ended = end_active_rollout(tx, store, clock, family, at=at, actor=actor, why=reign.why)
        record_reign(tx, store, reign, action=ROLLBACK, evidence=evidence)
        if alert is not None:
            store.alerts.open(tx, alert)
        report = ChangeReport(
            family=family,
            what=f"{reign.variant} is champion again, instead of {before.variant}"
            + (f"; rollout {ended.rollout} ended" if ended else ""),
            why=why,
            undo=f"detent rollout start {family} {before.variant}" + (f" --confirm {family}" if before.forced else ""),
            champion=reign,
            decision=ended,
        )
        return report, ended

    report, ended = store.write(change)
    log_head(ended)
    return report
