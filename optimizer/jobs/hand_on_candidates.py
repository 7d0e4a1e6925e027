"""Hands what a study found that started by itself to a rollout. The gates and ``rollout.approve`` decide whether it is served."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from optimizer.core.errors import DetentError
from optimizer.core.family import Family
from optimizer.core.freezes import is_frozen
from optimizer.core.rollout import Rollout
from optimizer.core.study import Study
from optimizer.jobs.ids import new_id
from optimizer.jobs.read_candidate import current_holdback, waiting_candidate
from optimizer.jobs.start_rollout import Start, start_rollout
from optimizer.ports import Alert, Clock, Store, Transaction

APPROVAL = "approval_wanted"  # alert kind: such a rollout waits for a person
WAITS = "candidate_waits"  # alert kind: nominated by a study that started by itself, and its rollout did not start
WAITING = ("pending", "validating")
log = structlog.get_logger("detent.triggers")


def hand_on_candidates(store: Store, clock: Clock, families: Mapping[str, Family]) -> list[Start]:
    """Starts the rollouts that are due; never as forced, so one whose gates are not met waits for a person and an alert says so.

    Of each family the last study counts that started by itself. Its nomination is handed on once: not against another champion than
    the one it was compared with, and not again after a rollout of it has ended, however it ended. Safe to repeat.
    """
    _close_answered(store, clock)
    return [start for family in families.values() if (start := _hand_on(store, clock, family)) is not None]


def _hand_on(store: Store, clock: Clock, family: Family) -> Start | None:
    with store.read() as tx:
        study = waiting_candidate(tx, store, family.name)
        waits = (
            is_frozen(store.freezes.all(tx), family.name) is not None
            or store.rollouts.active(tx, family.name) is not None
            or current_holdback(tx, store, clock, family.name) is not None
        )
    if study is None:
        _tell(store, clock, family.name, None, "")
        return None
    if waits:
        return None
    assert study.winner is not None
    assert study.trigger is not None
    why = f"nominated by study {study.id}, which started by itself ({study.trigger.kind}: {study.trigger.reason})"
    try:
        started = start_rollout(
            family, study.winner, actor=f"system:{study.trigger.kind}", store=store, clock=clock, study=study.id, reason=why[:2000]
        )
    except DetentError as problem:
        _tell(store, clock, family.name, study, problem.detail)
        return None
    _tell(store, clock, family.name, None, "")
    if started.rollout.status in WAITING:
        _ask(store, clock, study, started.rollout)
    log.info("candidate handed on", family=family.name, study=study.id, rollout=started.rollout.id, status=started.rollout.status)
    return started


def _ask(store: Store, clock: Clock, study: Study, rollout: Rollout) -> None:
    name = rollout.family
    detail = (
        f"Rollout {rollout.id} of {rollout.candidate} waits for approval. Study {study.id}, which started by itself, nominated it. "
        f"Look: detent variant diff {name} {rollout.candidate}; then detent rollout approve {name}, or detent rollout reject {name}."
    )
    alert = Alert(id=new_id("al"), kind=APPROVAL, level="info", family=name, subject=rollout.id, opened_at=clock.now(), detail=detail)
    store.write(lambda tx: store.alerts.open(tx, alert))


def _close_answered(store: Store, clock: Clock) -> None:
    """Questions that somebody has answered."""
    with store.read() as tx:
        asked = [alert for alert in store.alerts.all(tx, open_only=True) if alert.kind == APPROVAL]
        found = [(alert, store.rollouts.get(tx, alert.subject)) for alert in asked]
    for alert, rollout in found:
        if rollout is None or rollout.status not in WAITING:
            store.write(lambda tx, alert=alert: store.alerts.close(tx, APPROVAL, alert.family, alert.subject, clock.now()))  # type: ignore[misc]


def _tell(store: Store, clock: Clock, family: str, study: Study | None, problem: str) -> None:
    """One open alert per study that waits; none where nothing does."""
    with store.read() as tx:
        told = [a for a in store.alerts.all(tx, open_only=True) if a.kind == WAITS and a.family == family]
    wanted = study.id if study is not None else None
    over = [alert for alert in told if alert.subject != wanted]
    if not over and (study is None or len(told) > len(over)):
        return
    now = clock.now()

    def write(tx: Transaction) -> None:
        for alert in over:
            store.alerts.close(tx, WAITS, family, alert.subject, now)
        if study is not None:
            detail = f"Study {study.id}, which started by itself, nominated {study.winner}; its rollout did not start. {problem}"
            store.alerts.open(
                tx, Alert(id=new_id("al"), kind=WAITS, level="warning", family=family, subject=study.id, opened_at=now, detail=detail)
            )

    store.write(write)
