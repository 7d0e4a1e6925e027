"""Reads what one family's triggers say now, and what would keep a study from starting.

Writes nothing and asks no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from optimizer.core.base.minute_sums import merge
from optimizer.core.family.cron import next_fire
from optimizer.core.family.family import Family
from optimizer.core.scheduling.schedule import ScheduleInForce, in_force
from optimizer.core.scheduling.triggers import (
    EVIDENCE_KINDS,
    KINDS,
    REFERENCE_DAYS,
    STUDENT_HOURS,
    WINDOW_HOURS,
    Exposure,
    Guard,
    Look,
    Window,
    first_to_fire,
    kept_from_starting,
    look_at_degradation,
    look_at_feedback,
    look_at_schedule,
    look_at_students,
    unless_answered,
)
from optimizer.core.search.study import Trigger
from optimizer.core.serving.rollout import Champion, is_frozen
from optimizer.jobs.champions.watch_students import serving_students
from optimizer.jobs.rollouts.read_candidate import current_holdback, waiting_candidate
from optimizer.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerReport:
    """What one look found. ``trigger`` is what would start a study, ``held`` what keeps it from doing so."""

    family: str
    looks: Sequence[Look]
    trigger: Trigger | None
    held: Guard | None
    next_at: datetime | None  # real time of the schedule's next study; None without one
    schedule: ScheduleInForce


def watermark_name(family: str) -> str:
    """The name under which the store keeps how far the family's schedule has been looked at, on the rollout clock."""
    return f"schedule:{family}"


def look_at_triggers(family: Family, *, store: Store, clock: Clock, max_studies: int) -> TriggerReport:
    """Schedules and windows run on the rollout clock, which profile demo scales;
    the windows' edges are real time, as events are.
    """
    now, clock_now = clock.now(), clock.rollout_now()
    with store.read() as tx:
        schedule = in_force(family, store.schedules.get(tx, family.name))
        champion = store.champions.current(tx, family.name)
        since = store.minute_stats.watermark(tx, watermark_name(family.name))
        last = store.studies.last_triggered(tx, family.name)
        if last is not None and last.trigger is not None and (at := last.trigger.evidence.get("clock_at")) is not None:
            started = datetime.fromisoformat(at)
            since = started if since is None else max(since, started)
        since = since or clock_now
        # No person has switched on that studies start by themselves.
        looks = [Look(kind=kind, state="off", reason=schedule.text) for kind in KINDS]
        if schedule.on:
            looks = [
                *_evidence(tx, store, family, champion, now, clock.scale),
                look_at_schedule(schedule.cron, since=since, now=clock_now),
            ]
        guard = kept_from_starting(
            family,
            Exposure(
                freeze=is_frozen(store.freezes.all(tx), family.name),
                rollout=store.rollouts.active(tx, family.name),
                holdback=current_holdback(tx, store, clock, family.name),
                nominated=waiting_candidate(tx, store, family.name),
            ),
            unfinished=store.studies.unfinished(tx),
            max_studies=max_studies,
            n_holdout=store.examples.counts(tx, family.name).get("holdout", 0),
        )
    trigger = first_to_fire(looks) if champion is not None else None
    next_at = next_scheduled(schedule, clock)
    return TriggerReport(
        family=family.name, looks=looks, trigger=trigger, held=guard, next_at=next_at, schedule=schedule
    )


def next_scheduled(schedule: ScheduleInForce, clock: Clock) -> datetime | None:
    """When the schedule comes next, in real time; None where it is off."""
    if not schedule.on or schedule.cron is None:
        return None
    clock_now = clock.rollout_now()
    due = next_fire(schedule.cron, clock_now)
    return due if due is None or clock.scale == 1.0 else clock.now() + (due - clock_now) / clock.scale


def _evidence(
    tx: Transaction, store: Store, family: Family, champion: Champion | None, now: datetime, scale: float
) -> list[Look]:
    """Degradation and feedback of the present champion, from what came after the family's last study began, and what
    speaks against its student.
    """
    triggers = family.triggers
    feedback_hours = triggers.feedback.window_hours if triggers.feedback is not None else 0.0
    page, _ = store.studies.page(tx, family=family.name)
    # One that searches nothing answers no evidence.
    latest = next((study for study in page if study.mode == "search"), None)
    answered = store.studies.last_triggered(tx, family.name, EVIDENCE_KINDS)

    def window(hours: float) -> Window:
        edges = [now - timedelta(hours=hours) / scale]
        edges += [champion.since] if champion is not None else []
        edges += [latest.created_at] if latest is not None else []
        return _read(tx, store, family.name, champion, min(max(edges), now), now)

    def look(kind: str) -> Look:
        if kind == "feedback":
            return look_at_feedback(triggers.feedback, window(feedback_hours))
        if kind == "student":
            # By student that serves: why it is bypassed, and what of its requests is other than what it was taught on
            bypassed = {one.student: f"bypassed, {one.reason}" for one in store.students.bypasses(tx, family.name)}
            against = dict[str, list[str]]()
            for student in serving_students(tx, store, family, None):
                watched = store.students.watch(tx, family.name, student.id)
                own = [bypassed[student.id]] if student.id in bypassed else []
                against[student.id] = [*own, *(watched.watch.shifts if watched is not None else ())]
            return look_at_students(against, is_on=triggers.student)
        if triggers.degradation is None:
            return look_at_degradation(None, Window(since=now, until=now), Window(since=now, until=now))
        recent = window(WINDOW_HOURS)
        since = recent.since - timedelta(days=REFERENCE_DAYS) / scale
        if champion is not None:
            since = min(max(since, champion.since), recent.since)
        return look_at_degradation(
            triggers.degradation, recent, _read(tx, store, family.name, champion, since, recent.since)
        )

    hours = {"degradation": WINDOW_HOURS, "feedback": feedback_hours, "student": STUDENT_HOURS}
    return [unless_answered(look(kind), answered, timedelta(hours=hours[kind]) / scale, now) for kind in EVIDENCE_KINDS]


def _read(
    tx: Transaction, store: Store, family: str, champion: Champion | None, since: datetime, until: datetime
) -> Window:
    """Outcomes by the units of sums, since a unit counts once; latency by the sums of full minutes."""
    if champion is None or since >= until:
        return Window(since=since, until=until)
    rows = store.minute_stats.of_family(tx, family, since, variant=champion.variant, source="")
    latency = merge(row.latency_histogram for row in rows if since <= row.minute < until)
    outcomes = store.traffic.outcomes(tx, family, champion.variant, since, until)
    return Window(since=since, until=until, outcomes=outcomes, latency_ms=latency)
