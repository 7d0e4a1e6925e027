"""Starts the studies that start by themselves: looks at each family's triggers every five minutes, under the guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from optimizer.core.base.errors import BudgetTooSmall, Conflict, DetentError
from optimizer.core.base.phrasing import when
from optimizer.core.base.values import Aim
from optimizer.core.family.family import Family
from optimizer.core.scheduling.schedule import asked_of
from optimizer.core.search.study import Study, Trigger
from optimizer.jobs.context import Context
from optimizer.jobs.families.each_family import each_family
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.jobs.scheduling.look_at_triggers import TriggerReport, look_at_triggers, watermark_name
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.read_spending import left_this_month
from optimizer.ports import Alert, Clock, Store, Transaction

STARTED = "study_started"  # alert kinds: a notice while such a study is under way
NOT_STARTED = "study_not_started"  # something fires, and only a person can let it; subject: EXAMPLES or START
EXAMPLES, START = "examples", "start"
log = structlog.get_logger("detent.triggers")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """What only a person can change."""

    about: str  # EXAMPLES or START
    detail: str


def trigger_studies(
    context: Context,
) -> list[Study]:
    """One look at every family; returns the studies that it queued.

    A scheduled time stays due while a guard holds it back, and makes one study however long that takes: after downtime
    too there is one at most. Feedback that a study has answered starts no other.
    """
    families = dict(context.families().families)
    try:
        return each_family(families, lambda family: _look(context, family))
    finally:
        _tell_started(context.store, context.clock.now(), families)


def _look(
    context: Context,
    family: Family,
) -> Study | None:
    store, clock = context.store, context.clock
    looked_at = clock.rollout_now()
    report = look_at_triggers(family, store=store, clock=clock, max_studies=context.settings.max_studies)
    problem: _Problem | None = None
    if report.held is not None and report.held.needs_person:
        problem = _Problem(about=EXAMPLES, detail=report.held.reason)
    elif report.held is None and report.trigger is not None:
        # The trigger with the time up to which it answers the schedule: kept with the study itself, so that a kill
        # makes no second one.
        trigger = replace(report.trigger, evidence={**report.trigger.evidence, "clock_at": looked_at.isoformat()})
        strategy, aim = asked_of(family, report.schedule, trigger.kind)
        try:
            study = _start(context, family, trigger, strategy=strategy, aim=aim, holdout=report.schedule.holdout)
        except Conflict:  # another process began a study or a freeze meanwhile; the next look sees it
            return None
        except DetentError as refusal:  # such as a budget that is too small or an unknown model: an operator has to act
            where = (
                f"What such a study may spend stands under budget in families/{family.name}/family.yaml (usd:"
                f" {family.budget.usd:g})"
            )
            hint = f" {where}." if isinstance(refusal, BudgetTooSmall) else ""
            problem = _Problem(about=START, detail=refusal.detail + hint)
        else:
            store.write(lambda tx: _close_not_started(tx, store, family.name, clock.now()))
            log.info("study triggered", family=family.name, study=study.id, trigger=trigger.kind, reason=trigger.reason)
            return study
    _leave(store, clock, report, looked_at, problem)
    return None


def _start(context: Context, family: Family, trigger: Trigger, *, strategy: str, aim: Aim, holdout: bool) -> Study:
    """Queues a study with the family's own budget, which the monthly limits may make smaller.

    None of the family's last hundred studies had its seed, so that it tries something new. Without ``holdout`` its
    dataset has no sealed example.
    """
    store = context.store
    with store.read() as tx:
        remaining = left_this_month(tx, context, family)
        earlier, _ = store.studies.page(tx, family=family.name)
    own = family.budget
    usd = own.usd if remaining.usd is None else min(own.usd, remaining.usd)
    request = StudyRequest(
        family=family.name,
        strategy=strategy,
        aim=aim,
        budget=BudgetBody(usd=usd, calls=own.calls, minutes=own.minutes),
        seed=max((study.seed + 1 for study in earlier), default=0) % 2**32,
        definition={} if holdout else {"n_holdout": 0},
    )
    study = create_study(replace(context, actor=f"system:{trigger.kind}"), request, trigger=trigger)
    assert isinstance(study, Study)
    return study


def _leave(store: Store, clock: Clock, report: TriggerReport, looked_at: datetime, problem: _Problem | None) -> None:
    """Starts nothing. A scheduled time stays due while waiting can help; otherwise it passes, with an alert."""
    is_due = any(look.kind == "schedule" and look.state == "fires" for look in report.looks)
    now = clock.now()

    def write(tx: Transaction) -> None:
        if not is_due or problem is not None:
            store.minute_stats.set_watermark(tx, watermark_name(report.family), looked_at)
        if problem is None or problem.about != EXAMPLES:
            store.alerts.close(tx, NOT_STARTED, report.family, EXAMPLES, now)
        if all(look.state == "off" for look in report.looks):
            _close_not_started(tx, store, report.family, now)
        if problem is not None and report.trigger is not None:
            # Once, and not every five minutes; its text says what now keeps the study from starting.
            trigger = report.trigger
            again = (
                f" Tried again at {when(report.next_at)}."
                if report.next_at is not None and trigger.kind == "schedule"
                else ""
            )
            detail = (
                f"A study of {report.family} would start by itself ({trigger.kind}: {trigger.reason}), and cannot."
                f" {problem.detail.rstrip('.')}.{again}"
            )
            alert = Alert(
                id=new_id("al"),
                kind=NOT_STARTED,
                level="warning",
                family=report.family,
                subject=problem.about,
                opened_at=now,
                detail=detail,
            )
            if not store.alerts.reword(tx, alert) and store.alerts.open(tx, alert):
                log.warning("study not started", family=report.family, detail=detail)

    store.write(write)


def _close_not_started(tx: Transaction, store: Store, family: str, now: datetime) -> None:
    keep_alerts(tx, store, NOT_STARTED, [], at=now, family=family)


def _tell_started(store: Store, now: datetime, families: Mapping[str, Family]) -> None:
    """Keeps a notice open for each running study that started by itself; closes those of families that are gone."""

    def write(tx: Transaction) -> None:
        notices = [
            Alert(
                id=new_id("al"),
                kind=STARTED,
                level="info",
                family=study.family,
                subject=study.id,
                opened_at=now,
                detail=(
                    f"Study {study.id} of {study.family} started by itself ({study.trigger.kind}):"
                    f" {study.trigger.reason}. Look: detent study show {study.id}. Stop it: detent study cancel"
                    f" {study.id}."
                ),
            )
            for study in store.studies.unfinished(tx)
            if study.trigger is not None
        ]
        keep_alerts(tx, store, STARTED, notices, at=now)
        for alert in store.alerts.all(tx, open_only=True, kind=NOT_STARTED):
            if alert.family is not None and alert.family not in families:
                _close_not_started(tx, store, alert.family, now)

    store.write(write)
