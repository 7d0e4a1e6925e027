"""Golden scenarios of a family: what they ask, and which examples people made scenarios of."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from api.http.pagination import Cursor, Limit, page, slice_of
from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import GoldenBody
from api.services import Shared
from optimizer.jobs.dataset.keep_golden import add_golden, list_golden, remove_golden
from optimizer.runtime import shapes

routes: APIRouter = router("Families")


@routes.get("/v1/families/{family}/golden", **guarded("read-texts"))
def golden(family: str, shared: Shared, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """Every row of the golden scenarios; `example` names the example that it was made of, null for one of the file."""
    shown, next_cursor = slice_of(list_golden(shared.family(family), shared.store), cursor, limit)
    return page(shown, next_cursor)


@routes.post("/v1/families/{family}/golden", **guarded("operate", "limited"))
def add(family: str, body: GoldenBody, shared: Shared, request: Request, response: Response) -> dict[str, Any]:
    """Makes a released example a row of a golden scenario, which no search learns from. Safe to repeat."""
    report = add_golden(
        shared.family(family),
        body.example,
        scenario=body.scenario,
        reason=body.reason,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, shapes.change),
        clock=shared.clock,
    )
    return shapes.change(report)


@routes.delete("/v1/families/{family}/golden/{example:path}", **guarded("operate", "limited"))
def remove(
    family: str,
    example: Annotated[str, Path(min_length=1, max_length=200)],
    shared: Shared,
    request: Request,
    response: Response,
    reason: Annotated[str, Query(max_length=2000)] = "",
) -> dict[str, Any]:
    """Takes an example out of its golden scenario; searches may learn from it again."""
    report = remove_golden(
        shared.family(family),
        example,
        reason=reason,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, shapes.change),
        clock=shared.clock,
    )
    return shapes.change(report)
