"""Putting the time of ticks right after a clock that ran ahead."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import ReasonBody
from api.services import Shared
from optimizer.jobs.upkeep.reset_clock import ClockReset, reset_clock

routes: APIRouter = router("Operations")


@routes.post("/v1/clock/reset", **guarded("admin", "limited"))
def reset(shared: Shared, request: Request, response: Response, body: ReasonBody | None = None) -> ClockReset:
    """Sets the last tick to now where a clock that ran ahead left it in the future, and holds every active rollout.

    Safe to repeat.
    """
    given = body or ReasonBody()
    store = kept(request, shared, response, lambda report: report)
    report = reset_clock(given.reason, actor=request.state.caller.actor, store=store, clock=shared.clock)
    shared.serving.refresh()
    return report
