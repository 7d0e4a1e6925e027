"""Whether this process is alive, and whether it can serve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fastapi import APIRouter, Response

from api.routing import guarded, router
from api.services import Shared
from optimizer.jobs.upkeep.read_status import Dependencies, dependencies_of

routes: APIRouter = router("Operations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    status: Literal["ok"]


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

    It is 200 again by itself: a failed write is tried again every two seconds, a damaged file checked after five
    seconds, ten, twenty, up to ten minutes. The worker reads every page of the file unasked, a minute for 1 GB, so that
    damage is seen though nobody needs that part. A family whose file cannot be used is in `degraded`, and its last good
    version goes on serving: that is 200.
    """
    health, degraded = shared.serving_health(), sorted(shared.families.problems)
    if health.not_ready is not None:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return Readiness(
        status="ready" if health.not_ready is None else "not ready",
        degraded=degraded,
        # without its detail: in words for anyone
        dependencies=dependencies_of(shared.settings, replace(health, detail=None), shared.clock.now(), degraded),
    )
