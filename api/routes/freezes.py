"""Freezing: from one moment on only champions are served, until an operator unfreezes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.access.auth import require_family
from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import FreezeBody
from api.services import Shared
from optimizer.jobs.rollouts import freeze as job
from optimizer.runtime import shapes

routes: APIRouter = router("Rollouts")


@routes.post("/v1/freeze", **guarded("operate", "never-refused", narrows=True))
def freeze(shared: Shared, request: Request, response: Response, body: FreezeBody | None = None) -> dict[str, Any]:
    """Serves champions only, at once, for one family or all: no candidate, holdback or override, no advance, no study.

    Safe to repeat.
    """
    given = body or FreezeBody()
    store = kept(request, shared, response, shapes.freeze_change)
    require_family(request.state.caller, given.family)
    report = job.freeze(given.family, given.reason, actor=request.state.caller.actor, store=store, clock=shared.clock)
    shared.serving.refresh()
    return shapes.freeze_change(report)


@routes.post("/v1/unfreeze", **guarded("operate", "never-refused", narrows=True))
def unfreeze(shared: Shared, request: Request, response: Response, body: FreezeBody | None = None) -> dict[str, Any]:
    """Ends the freeze of one family, or the one of all families.

    Rollouts go on with the worker's next tick. Safe to repeat.
    """
    given = body or FreezeBody()
    store = kept(request, shared, response, shapes.freeze_change)
    require_family(request.state.caller, given.family)
    report = job.unfreeze(given.family, given.reason, actor=request.state.caller.actor, store=store, clock=shared.clock)
    shared.serving.refresh()
    return shapes.freeze_change(report)
