"""Operations: is it alive, can it serve, what is going on, who did what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NotRequired

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.routing import Asking, guarded, router
from api.services import Services, Shared
from optimizer.core.scheduling.schedule import StoredSchedule, in_force
from optimizer.core.search.study import Study, study_view
from optimizer.core.serving.freezes import ALL, Freeze
from optimizer.core.serving.rollout import Rollout
from optimizer.core.views.family import EnvironmentView
from optimizer.host import run_files
from optimizer.jobs.outbox.mirror_outbox import TOPICS
from optimizer.jobs.outbox.send_alerts import messages_waiting
from optimizer.jobs.scheduling.look_at_triggers import next_scheduled
from optimizer.jobs.upkeep.manage_keys import seen_callers
from optimizer.jobs.upkeep.read_status import (
    ScheduleBrief,
    SeenCaller,
    Truncation,
    schedule_brief,
    seen_of,
    truncated_of,
    watched,
)
from optimizer.ports import Alert, Transaction

BAD_MODELS = "config/models.yaml cannot be used, and the last good one is gone by; `detent status` says why"
TICKS_MISSED = 3  # a worker that missed so many ticks counts as away

routes: APIRouter = router("Operations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    status: Literal["ok"]


class StoreState(TypedDict):
    ok: bool
    busy: bool
    age_s: float | None
    detail: str | None


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
    detail: NotRequired[str]


class FileState(TypedDict):
    ok: bool
    detail: str | None


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
class FamilyStatus:
    """``watched``: what an adopted, promoted or set champion is compared with, and until when."""

    name: str
    champion: str
    since: datetime
    rollout: Rollout | None
    frozen: bool
    overridden: EnvironmentView | None
    schedule: ScheduleBrief | None
    next_study_at: datetime | None
    watched: str | None
    truncated: list[Truncation]
    degraded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    profile: str
    simulated_clock: bool
    frozen: bool
    freezes: list[Freeze]
    families: list[FamilyStatus]
    degraded: list[str]
    dependencies: Dependencies
    exposures_waiting: int
    studies: list[Study]
    alerts: list[Alert]
    refused_callers: list[SeenCaller]
    keyless_callers: list[SeenCaller]
    outbox_waiting: int
    messages_waiting: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    status: Literal["ready", "not ready"]
    degraded: list[str]
    dependencies: Dependencies


@routes.get("/health", **guarded(None))
async def health() -> Health:
    """Alive: answers whatever else is down."""
    return Health(status="ok")


@routes.get("/ready", **guarded(None))
def ready(shared: Shared, response: Response) -> Readiness:
    """Whether requests can be served and kept: 503 until the store was read once, and while a process of this home
    cannot read it or its last write failed, when prompts and chats go on being answered from memory. What is away is
    named, with its age. A store that another program holds locked is `busy`, which is 200.

    A family whose file cannot be used is in `degraded`, and its last good version goes on serving: that is 200.
    """
    fault = shared.store_fault
    can_serve = shared.serving.now_served.version is not None and fault is None
    if not can_serve:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    dependencies = _dependencies(shared, lambda _: True)
    dependencies["store"]["detail"] = fault or shared.store.lock_held
    return Readiness(
        status="ready" if can_serve else "not ready",
        degraded=sorted(shared.families.problems),
        dependencies=dependencies,
    )


@routes.get("/v1/status", **guarded("read", narrows=True))
def status(shared: Shared, caller: Asking) -> StatusView:
    """One page for an operator: freezes, families with champion and rollout, running studies,
    open alerts, processes, what waits.
    """
    sees, store, now = caller.access.may_see, shared.store, shared.clock.now()
    served = shared.serving.now_served

    def read(tx: Transaction) -> StatusView:
        schedules, truncated = store.schedules.all(tx), store.exposures.truncated(tx)
        callers = seen_callers(tx, store, now) if sees(None) else []
        return StatusView(
            profile=shared.settings.profile,
            simulated_clock=shared.settings.simulated_clock,
            frozen=any(freeze.scope == ALL for freeze in served.freezes),
            freezes=[freeze for freeze in served.freezes if freeze.scope == ALL or sees(freeze.family)],
            families=[
                FamilyStatus(
                    name=name,
                    champion=family.champion.variant,
                    since=family.champion.since,
                    rollout=family.rollout,
                    frozen=family.freeze is not None,
                    overridden=family.override_view(),
                    **_schedule(shared, name, schedules),
                    watched=watched(tx, store, shared.clock, family.champion),
                    truncated=truncated_of(truncated, name),
                    degraded=name in shared.families.problems,
                )
                for name, family in sorted(served.families.items())
                if sees(name)
            ],
            degraded=sorted(filter(sees, shared.families.problems)),
            dependencies=_dependencies(shared, sees),
            exposures_waiting=shared.exposures.n_waiting,
            studies=[study_view(study) for study in store.studies.unfinished(tx) if sees(study.family)],
            alerts=[alert for alert in store.alerts.all(tx, open_only=True) if sees(alert.family)],
            refused_callers=seen_of(callers, "refused"),
            keyless_callers=seen_of(callers, "keyless"),
            outbox_waiting=store.outbox.backlog(tx, topics=TOPICS),
            messages_waiting=messages_waiting(tx, store),
        )

    return shared.read(read)


def _schedule(shared: Services, family: str, stored: Mapping[str, StoredSchedule]) -> Mapping[str, Any]:
    declared = shared.families.families.get(family)
    if declared is None:
        return {"schedule": None, "next_study_at": None}
    found = in_force(declared, stored.get(family))
    return {"schedule": schedule_brief(found), "next_study_at": next_scheduled(found, shared.clock)}


def _dependencies(shared: Services, sees: Callable[[str], bool]) -> Dependencies:
    served, now, fault = shared.serving.now_served, shared.clock.now(), shared.store_fault
    tick_age = _age(served.ticked_at, now)
    degraded = sorted(filter(sees, shared.families.problems))
    is_bad = run_files.note(shared.settings, "gateway", "models_problem") is not None

    def process(name: str) -> ProcessState:
        one = run_files.find(shared.settings, name)
        return {"ok": one is not None, "age_s": _age(one.since, now) if one is not None else None}

    found: Dependencies = {
        "store": {
            "ok": fault is None,
            "busy": shared.store.lock_held is not None,
            "age_s": _age(served.read_at, now),
            "detail": shared.serving.store_error or fault or shared.store.lock_held,
        },
        "families": {"ok": not degraded, "degraded": degraded},
        "gateway": process("gateway"),
        "worker": {
            "ok": tick_age is not None and 0 <= tick_age < TICKS_MISSED * shared.settings.tick_seconds,
            "age_s": process("worker")["age_s"],
            "last_tick_age_s": tick_age,
        },
        "mlflow": process("mlflow"),
        "models_file": {"ok": not is_bad, "detail": BAD_MODELS if is_bad else None},
    }
    if (n_workers := shared.workers) > 1:
        running = [run_files.find(shared.settings, name) for name in run_files.api_names(n_workers)]
        n_running = sum(one is not None for one in running)
        found["api"] = {"ok": n_running == n_workers, "processes": n_running, "of": n_workers}
    if tick_age is not None and tick_age < 0:
        found["worker"]["detail"] = (
            "the last tick lies ahead of the clock, which once ran ahead or was set back: detent clock reset"
        )
    return found


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else round((now - since).total_seconds(), 3)
