"""Reads one page for an operator: what runs, what is served, what needs a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from optimizer.core.base.answers import Text
from optimizer.core.base.errors import Busy
from optimizer.core.base.phrasing import when
from optimizer.core.family.family import kind_of
from optimizer.core.scheduling.schedule import ScheduleBrief, in_force
from optimizer.core.serving.assignment import holdback_of
from optimizer.core.serving.champion import taken_back
from optimizer.core.serving.rollout import ALERT, ALL, Champion, Freeze, Rollout, is_frozen
from optimizer.core.views.family import EnvironmentView
from optimizer.core.views.rollout_status import EvidenceView, RolloutStanding
from optimizer.core.views.rollout_story import (
    HomeHealth,
    ending_of,
    headline_of,
    home_headline,
    needs_a_person,
    rollout_standing,
    standing_of_active,
    watch_in_words,
)
from optimizer.core.views.study_headline import StudyView
from optimizer.host import run_files
from optimizer.host.config import Settings
from optimizer.jobs.context import Context, ServingHealth
from optimizer.jobs.families.check_models import with_unknown_model
from optimizer.jobs.outbox.mirror_outbox import TOPICS
from optimizer.jobs.outbox.read_freezes import freezes_by
from optimizer.jobs.outbox.send_alerts import messages_waiting
from optimizer.jobs.request import Request
from optimizer.jobs.rollouts.rollout_view import active_standing, rollout_view, with_forecast
from optimizer.jobs.scheduling.look_at_triggers import next_scheduled
from optimizer.jobs.studies.read_studies import view_now
from optimizer.jobs.upkeep.manage_keys import SeenCaller, seen_callers
from optimizer.jobs.upkeep.read_operations import AlertView, open_alerts, views_of_alerts
from optimizer.ports import (
    Alert,
    CallerRecord,
    Clock,
    EvidenceRow,
    FamilySource,
    Store,
    Transaction,
    WatchedSwitch,
)

BAD_MODELS = "config/models.yaml cannot be used, and the last good one is gone by; `detent status` says why"
TICKS_MISSED = 3  # a worker that missed so many ticks counts as away
TICKED_AHEAD = "the last tick lies ahead of the clock, which once ran ahead or was set back: detent clock reset"
MOVED_SHOWN = timedelta(days=1)  # since a rollout ended, or a champion took over from another
RESTARTS_SHOWN = timedelta(hours=1)
REFUSED_SHOWN = timedelta(hours=1)  # in the headline, since a program was refused last


class StatusRequest(Request):
    """Of all that the caller may see."""

    forecast: Annotated[
        bool, Field(description="Whether `rollouts` say how many users are still needed, which takes a while")
    ] = False


class StoreState(TypedDict):
    ok: bool
    busy: bool
    age_s: float | None
    detail: Text[str | None]


class FamiliesState(TypedDict):
    ok: bool
    degraded: list[str]


class ApiState(TypedDict):
    """Where several workers serve."""

    ok: bool
    processes: int
    of: int


class ProcessState(TypedDict):
    ok: bool
    age_s: float | None


class WorkerState(ProcessState):
    last_tick_age_s: float | None
    detail: NotRequired[Text[str]]


class FileState(TypedDict):
    ok: bool
    detail: Text[str | None]


class Dependencies(TypedDict):
    """What this process needs, with the age of what it last heard of it."""

    store: StoreState
    families: FamiliesState
    api: NotRequired[ApiState]
    gateway: ProcessState
    worker: WorkerState
    mlflow: ProcessState
    models_file: FileState


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """An input, by its name, that was ever cut, with the requests in which it was."""

    input: str
    n_requests: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessBrief:
    """``pid`` is None where it does not run."""

    process: str
    pid: int | None
    url: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A process that had died was started again; ``why`` says what ended it."""

    process: str
    at: datetime
    why: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyStatus:
    """``watched``: what an adopted, promoted or set champion is compared with, and until when. ``family`` is its
    ``name``. ``by`` and ``why``: who made the champion what it is; ``has_previous``: `champion rollback` leads
    somewhere; ``taken_back``: the variant that such a rollback ended for this one, which `champion set` serves again;
    ``ended``: when, by whom and how its last rollout ended within a day, the champion being the same.
    """

    name: str
    family: str
    champion: str | None
    since: datetime | None
    by: str | None
    why: Text[str | None]
    has_previous: bool
    taken_back: str | None
    rollout: Rollout | None
    ended: str | None
    frozen: bool
    overridden: EnvironmentView | None
    schedule: ScheduleBrief | None
    next_study_at: datetime | None
    by_itself: Literal["on", "off", "?"]
    watched: str | None
    truncated: list[Truncation]
    degraded: bool
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """``rollouts``: where each active one stands, in a sentence; ``standings``: without the command in it;
    ``evidence``: of the gate that its next step asks, by family, once it is served. A key for named families is told
    nothing of the home: ``home``, ``processes``, ``models_problem``, ``notes_dropped``, ``restarts`` (of the last
    hour), callers.
    """

    headline: str
    home: Text[str | None]
    profile: str
    simulated_clock: bool
    processes: list[ProcessBrief]
    notes_dropped: int | None
    restarts: list[Restart]
    last_tick_at: datetime | None
    not_ready: str | None
    models_problem: Text[str | None]
    frozen: bool
    freezes: list[Freeze]
    families: list[FamilyStatus]
    degraded: list[str]
    rollouts: Mapping[str, str]
    standings: Mapping[str, RolloutStanding]
    evidence: Mapping[str, EvidenceView]
    dependencies: Dependencies
    exposures_waiting: int
    studies: list[StudyView]
    alerts: list[AlertView]
    refused_callers: list[SeenCaller]
    keyless_callers: list[SeenCaller]
    keyless_until: datetime | None
    outbox_waiting: int
    messages_waiting: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowsOfAll:
    """Of every family, one query each, however many there are; by family, ``states`` by rollout."""

    champions: Mapping[str, Champion]
    active: Mapping[str, Rollout]
    latest: Mapping[str, Rollout]
    switches: Mapping[str, WatchedSwitch]
    states: Mapping[str, EvidenceRow]
    freezes: Sequence[Alert]  # of all, those that ended included


def read_status(context: Context, request: StatusRequest) -> StatusView:
    """One page for an operator: processes, freezes, families with champion and rollout, running studies, open alerts,
    what waits.
    """
    store, settings, now = context.store, context.settings, context.clock.now()
    health, sees = context.serving_health(), context.access.may_see
    files, sees_home = context.families(), sees(None)
    degraded = sorted(filter(sees, files.problems))
    unknown = with_unknown_model(context.models, files.families.values())
    with store.read() as tx:
        freezes = [freeze for freeze in store.freezes.all(tx) if freeze.scope == ALL or sees(freeze.family)]
        callers = seen_callers(tx, store, now) if sees_home else []
        rows = _rows_of_all(tx, store)
        families = _families(tx, context, files, freezes, unknown, rows)
        alerts = views_of_alerts(tx, context, open_alerts(tx, context), rows.latest, rows.champions)
        studies = [view_now(tx, context, study) for study in store.studies.unfinished(tx) if sees(study.family)]
        keyless_until = _keyless_until(tx, store, now) if sees_home else None
        outbox_waiting, waiting = store.outbox.backlog(tx, topics=TOPICS), messages_waiting(tx, store)
    models_problem = run_files.note(settings, "gateway", "models_problem")
    processes = list(_processes(settings))
    active = {family.name: family.rollout for family in families if family.rollout is not None}
    seen = {
        name: active_standing(rollout, rows.states.get(rollout.id), freezes, context.clock)
        for name, rollout in active.items()
    }
    standings = {
        name: _with_forecast(context, rollout) if request.forecast else standing_of_active(rollout, seen[name])
        for name, rollout in active.items()
    }
    running = {process.process for process in processes if process.pid is not None}
    headline = home_headline(
        HomeHealth(
            runs="worker" in running and any(name.split("-")[0] == "api" for name in running),
            rollouts=len(standings),
            is_starting="serve" in running,
            tick_fault=tick_fault(settings, health.ticked_at, now),
            n_waiting=sum(map(needs_a_person, active.values())),
            alerts=[alert.level for alert in alerts if alert.is_told],
            n_quiet=sum(alert.level != "info" and alert.silenced_until is not None for alert in alerts),
            n_faulty=sum(family.problem is not None for family in families),
            not_ready=health.not_ready,
            bad_models=models_problem is not None and sees_home,
            n_refused=sum(caller.kind == "refused" and now - caller.last_at < REFUSED_SHOWN for caller in callers),
            frozen=[freeze.family for freeze in freezes],
        )
    )
    return StatusView(
        headline=headline,
        home=str(settings.home) if sees_home else None,
        profile=settings.profile,
        simulated_clock=settings.simulated_clock,
        processes=processes if sees_home else [],
        notes_dropped=run_files.note(settings, "serve", "notes_dropped") if sees_home else None,
        restarts=list(_restarts(settings, now)) if sees_home else [],
        last_tick_at=health.ticked_at,
        not_ready=health.not_ready,
        models_problem=models_problem if sees_home else None,
        frozen=any(freeze.scope == ALL for freeze in freezes),
        freezes=freezes,
        families=families,
        degraded=degraded,
        rollouts={name: headline_of(standing, active[name].family) for name, standing in standings.items()},
        standings=standings,
        evidence={name: one.gate for name, one in seen.items() if one.gate is not None},
        dependencies=dependencies_of(settings, health, now, degraded),
        exposures_waiting=health.exposures_waiting,
        studies=studies,
        alerts=alerts,
        refused_callers=_seen_of(callers, "refused"),
        keyless_callers=_seen_of(callers, "keyless"),
        keyless_until=keyless_until,
        outbox_waiting=outbox_waiting,
        messages_waiting=waiting,
    )


def _rows_of_all(tx: Transaction, store: Store) -> _RowsOfAll:
    return _RowsOfAll(
        champions={champion.family: champion for champion in store.champions.all_current(tx)},
        active={rollout.family: rollout for rollout in store.rollouts.all_active(tx)},
        latest=store.rollouts.all_latest(tx),
        switches=store.switch_watches.all(tx),
        states=store.blocks.states_of_active(tx),
        freezes=store.alerts.all(tx, open_only=False, kind=ALERT),
    )


def dependencies_of(settings: Settings, health: ServingHealth, now: datetime, degraded: Sequence[str]) -> Dependencies:
    """From memory and the run files alone. ``degraded``: families whose file cannot be used."""
    tick_age = _age(health.ticked_at, now)
    is_bad = run_files.note(settings, "gateway", "models_problem") is not None

    def process(name: str) -> ProcessState:
        process = run_files.find(settings, name)
        return {"ok": process is not None, "age_s": _age(process.since, now) if process is not None else None}

    dependencies: Dependencies = {
        "store": {
            "ok": health.fault is None,
            "busy": health.lock_held is not None,
            "age_s": _age(health.read_at, now),
            "detail": health.detail or health.fault or health.lock_held,
        },
        "families": {"ok": not degraded, "degraded": list(degraded)},
        "gateway": process("gateway"),
        "worker": {
            "ok": tick_age is not None and 0 <= tick_age < TICKS_MISSED * settings.tick_seconds,
            "age_s": process("worker")["age_s"],
            "last_tick_age_s": tick_age,
        },
        "mlflow": process("mlflow"),
        "models_file": {"ok": not is_bad, "detail": BAD_MODELS if is_bad else None},
    }
    if health.workers > 1:
        running = [run_files.find(settings, name) for name in run_files.api_names(health.workers)]
        n_running = sum(process is not None for process in running)
        dependencies["api"] = {"ok": n_running == health.workers, "processes": n_running, "of": health.workers}
    if tick_age is not None and tick_age < 0:
        dependencies["worker"]["detail"] = TICKED_AHEAD
    return dependencies


def tick_fault(settings: Settings, ticked_at: datetime | None, now: datetime) -> str | None:
    """How a worker that is alive does not tick, such as one that hangs; None also in the time of its first ticks."""
    worker, patience = run_files.find(settings, "worker"), timedelta(seconds=TICKS_MISSED * settings.tick_seconds)
    if worker is None or now - worker.since < patience:
        return None
    if ticked_at is None:
        return "the worker has never ticked"
    if ticked_at > now:
        return TICKED_AHEAD
    return f"the worker has not ticked since {when(ticked_at)}" if now - ticked_at >= patience else None


def _families(
    tx: Transaction,
    context: Context,
    files: FamilySource,
    freezes: Sequence[Freeze],
    unknown: Collection[str],
    rows: _RowsOfAll,
) -> list[FamilyStatus]:
    """``unknown``: families whose file names a model that is in no file."""
    store = context.store
    former = store.family_names.former(tx)
    declared_now, problems = files.families, files.problems  # each look at them makes them anew
    names = declared_now.keys() | problems.keys()
    names -= {old for old, new in former.items() if new in names}
    schedules, truncated = store.schedules.all(tx), store.exposures.truncated(tx)
    views = []
    for name in sorted(filter(context.access.may_see, names)):
        declared, present = declared_now.get(name), former.get(name, name)
        champion = rows.champions.get(present)
        ended = None
        if champion is not None and champion.seq > 1:
            ended = taken_back(store.champions.history(tx, present))
        schedule = in_force(declared, schedules.get(declared.name)) if declared is not None else None
        is_pipeline = declared is not None and kind_of(declared).runs_pipeline
        views.append(
            FamilyStatus(
                name=name,
                family=name,
                champion=champion.variant if champion is not None else None,
                since=champion.since if champion is not None else None,
                by=champion.by if champion is not None else None,
                why=champion.why if champion is not None else None,
                has_previous=champion is not None and champion.previous is not None,
                taken_back=ended.variant if ended is not None else None,
                rollout=rows.active.get(present),
                ended=_ended(tx, context, rows.latest.get(present)),
                frozen=is_frozen(freezes, name) is not None,
                overridden=context.environment(champion.variant) if champion is not None and is_pipeline else None,
                schedule=ScheduleBrief(
                    on=schedule.on, holdout=schedule.holdout, cron=schedule.cron, source=schedule.source, by=schedule.by
                )
                if schedule is not None
                else None,
                next_study_at=next_scheduled(schedule, context.clock) if schedule is not None else None,
                by_itself="?" if schedule is None else "on" if schedule.on else "off",
                watched=_watched(rows, context.clock, champion) if champion is not None else None,
                truncated=[
                    Truncation(input=input.input, n_requests=input.n_requests, last_at=input.last_at)
                    for input in truncated
                    if input.family == name
                ],
                degraded=name in problems,
                problem=(
                    ("faulty file, last good version serves" if champion is not None else "faulty file, nothing serves")
                    if name in problems
                    else "its file names an unknown model"
                    if name in unknown
                    else None
                ),
            )
        )
    return views


def _ended(tx: Transaction, context: Context, last: Rollout | None) -> str | None:
    if last is None or last.ended_at is None or last.outcome in ("promoted", "champion_changed"):
        return None  # the champion's ``since`` says it
    if context.clock.now() - last.ended_at >= MOVED_SHOWN:
        return None
    decision = context.store.rollouts.last_decision(tx, last.id)
    return ending_of(last, decision.actor if decision is not None else None)


def _with_forecast(context: Context, rollout: Rollout) -> RolloutStanding:
    store, clock = context.store, context.clock
    with store.read() as tx:
        view = rollout_view(tx, store, clock, rollout)
    return rollout_standing(rollout, with_forecast(view, rollout, store=store, clock=clock))


def _processes(settings: Settings) -> Iterator[ProcessBrief]:
    apis, feedback = run_files.api_names_running(settings), run_files.feedback_names_running(settings)
    for name in ("serve", *apis, *feedback, "gateway", "worker", "mlflow"):
        process = run_files.find(settings, name)
        yield ProcessBrief(
            process=name,
            pid=process.pid if process is not None else None,
            url=process.url if process is not None else None,
            since=process.since if process is not None else None,
        )


def _restarts(settings: Settings, now: datetime) -> Iterator[Restart]:
    for seconds, process, *why in run_files.note(settings, "serve", "restarts") or ():  # older servers say no reason
        at = datetime.fromtimestamp(seconds, UTC)
        if now - at < RESTARTS_SHOWN:
            yield Restart(process=process, at=at, why="".join(why))


def _keyless_until(tx: Transaction, store: Store, now: datetime) -> datetime | None:
    """When the door closes that the first key left open; None where it is closed, or there is no key."""
    with suppress(Busy):  # the keys are gone, which the headline says
        ends = [key.keyless_until for key in store.api_keys.all(tx) if key.keyless_until is not None]
        return max((at for at in ends if at > now), default=None)
    return None


def _seen_of(callers: Iterable[CallerRecord], kind: Literal["refused", "keyless"]) -> list[SeenCaller]:
    return [
        SeenCaller(name=caller.name, n_requests=caller.n_requests, last_at=caller.last_at)
        for caller in callers
        if caller.kind == kind
    ]


def _watched(rows: _RowsOfAll, clock: Clock, champion: Champion) -> str | None:
    """What the champion is compared with, and until when, as a sentence; None where with nothing."""
    switch = rows.switches.get(champion.family)
    freezes = freezes_by(rows.freezes, champion.family, clock.now())
    return watch_in_words(
        champion,
        holdback=holdback_of(champion, rows.latest.get(champion.family), clock.scale, freezes),
        switch=switch.watch if switch is not None and switch.tenure == champion.seq else None,
        now=clock.now(),
    )


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else round((now - since).total_seconds(), 3)
