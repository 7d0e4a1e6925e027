"""Hands the candidate of a study that started by itself on to a rollout.

The gates and ``rollout.approve`` decide whether it is served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import structlog

from optimizer.core.base.errors import DetentError
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.rollout.transitions import is_system
from optimizer.core.serving.rollout import is_frozen
from optimizer.jobs.champions.drill_rollback import ALERT as WAY_BACK
from optimizer.jobs.champions.watch_champion import ALERT as DRIFT
from optimizer.jobs.champions.watch_limits import OUT_OF_LIMITS
from optimizer.jobs.champions.watch_students import BYPASSED, SHIFTED
from optimizer.jobs.families.each_family import each_family
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.jobs.rollouts.read_candidate import current_holdback, unconfirmed_winner, waiting_candidate
from optimizer.jobs.rollouts.start_rollout import RolloutRequest, StartReport, make_rollout
from optimizer.ports import Alert, Clock, FamilySource, Store, Transaction

APPROVAL = "approval_wanted"  # alert kind: such a rollout waits for a person
WAITS = "candidate_waits"  # alert: the rollout of a candidate of a study that started by itself did not start
UNCONFIRMED = "confirmation_wanted"  # alert kind: found by such a study, which was not to look at the holdout
# Each is kept by a look at its family.
OF_FAMILIES = (WAITS, UNCONFIRMED, OUT_OF_LIMITS, DRIFT, WAY_BACK, BYPASSED, SHIFTED)
WAITING = ("pending", "validating")
log = structlog.get_logger("detent.triggers")


def hand_on_candidates(
    store: Store, clock: Clock, source: FamilySource, scorer_for: Callable[[Family], Scorer]
) -> list[StartReport]:
    """Starts the rollouts that are due, never as forced: one whose gates are not met waits for a person, with an alert.

    In each family the last study counts that started by itself. Its candidate is handed on only against the champion
    that it was compared with. Never twice: a rollout that ended is not started again. Safe to repeat.
    """
    try:
        return each_family(dict(source.families), lambda family: _hand_on(store, clock, family, scorer_for))
    finally:
        _tell_approvals(store, clock, {*source.families, *source.problems})


def _hand_on(store: Store, clock: Clock, family: Family, scorer_for: Callable[[Family], Scorer]) -> StartReport | None:
    with store.read() as tx:
        is_on = store.schedules.get(tx, family.name) is not None
        study = waiting_candidate(tx, store, family.name) if is_on else None
        waits = (
            is_frozen(store.freezes.all(tx), family.name) is not None
            or store.rollouts.active(tx, family.name) is not None
            or current_holdback(tx, store, clock, family.name) is not None
        )
    _tell_unconfirmed(store, clock, family.name)
    if study is None:
        _tell(store, clock, family.name, [])
        return None
    if waits:
        return None
    assert study.winner is not None
    assert study.trigger is not None
    why = f"nominated by study {study.id}, which started by itself ({study.trigger.kind}: {study.trigger.reason})"
    try:
        started = make_rollout(
            family,
            RolloutRequest(family=family.name, variant=study.winner, study=study.id, reason=why[:2000]),
            actor=f"system:{study.trigger.kind}",
            store=store,
            clock=clock,
            scorer_for=scorer_for,
        )
    except DetentError as problem:
        detail = (
            f"Study {study.id}, which started by itself, nominated {study.winner}; its rollout did not start."
            f" {problem.detail}"
        )
        alert = Alert(
            id=new_id("al"),
            kind=WAITS,
            level="warning",
            family=family.name,
            subject=study.id,
            opened_at=clock.now(),
            detail=detail,
        )
        _tell(store, clock, family.name, [alert])
        return None
    _tell(store, clock, family.name, [])
    log.info(
        "candidate handed on",
        family=family.name,
        study=study.id,
        rollout=started.id,
        status=started.status,
    )
    return started


def _tell(store: Store, clock: Clock, family: str, waits: Sequence[Alert]) -> None:
    store.write(lambda tx: keep_alerts(tx, store, WAITS, waits, at=clock.now(), family=family))


def _tell_unconfirmed(store: Store, clock: Clock, family: str) -> None:
    """Keeps a notice open while a winner waits for a person to look at the holdout.

    It is the winner of a study that started by itself and was not to look there.
    """

    def write(tx: Transaction) -> None:
        at, alerts = clock.now(), []
        if (study := unconfirmed_winner(tx, store, family)) is not None:
            detail = (
                f"Study {study.id} of {family}, which started by itself, found {study.winner}: it beats the champion on"
                f" dev, and was not to look at the sealed holdout. What a look costs: detent study confirm {family}"
                f" {study.winner} --dry-run."
            )
            alerts = [
                Alert(
                    id=new_id("al"),
                    kind=UNCONFIRMED,
                    level="info",
                    family=family,
                    subject=study.id,
                    opened_at=at,
                    detail=detail,
                )
            ]
        keep_alerts(tx, store, UNCONFIRMED, alerts, at=at, family=family)

    store.write(write)


def _tell_approvals(store: Store, clock: Clock, families: Collection[str]) -> None:
    """Keeps a notice open for each rollout that started by itself and waits for a person. Of a family whose folder is
    gone nobody looks any more, so what its looks keep open ends here.
    """

    def write(tx: Transaction) -> None:
        alerts = [
            Alert(
                id=new_id("al"),
                kind=APPROVAL,
                level="info",
                family=rollout.family,
                subject=rollout.id,
                opened_at=clock.now(),
                detail=(
                    f"Rollout {rollout.id} of {rollout.candidate} waits for approval. Study {rollout.study}, which"
                    f" started by itself, nominated it. Look: detent variant diff {rollout.family}"
                    f" {rollout.candidate}; then detent rollout approve {rollout.family}, or detent rollout reject"
                    f" {rollout.family}."
                ),
            )
            for rollout in store.rollouts.all_active(tx)
            if rollout.status in WAITING and is_system(rollout.created_by) and rollout.study is not None
        ]
        keep_alerts(tx, store, APPROVAL, alerts, at=clock.now())
        for alert in store.alerts.all(tx, open_only=True):
            if alert.kind in OF_FAMILIES and alert.family not in families:
                store.alerts.close(tx, alert.kind, alert.family, alert.subject, clock.now())

    store.write(write)
