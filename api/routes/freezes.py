"""Freezing: from one moment on only champions are served, until an operator unfreezes."""

from __future__ import annotations

from collections.abc import Callable
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
    return _change(job.freeze, shared, request, response, body or FreezeBody())


@routes.post("/v1/unfreeze", **guarded("operate", "never-refused", narrows=True))
def unfreeze(shared: Shared, request: Request, response: Response, body: FreezeBody | None = None) -> dict[str, Any]:
    """Ends the freeze of one family, or the one of all families.

    Rollouts go on with the worker's next tick. Safe to repeat.
    """
    return _change(job.unfreeze, shared, request, response, body or FreezeBody())


def _change(
    act: Callable[..., job.FreezeReport], shared: Shared, request: Request, response: Response, body: FreezeBody
) -> dict[str, Any]:
    store = kept(request, shared, response, shapes.freeze_change)
    require_family(request.state.caller, body.family)
    report = act(body.family, body.reason, actor=request.state.caller.actor, store=store, clock=shared.clock)
    shared.serving.refresh()
    return shapes.freeze_change(report)
