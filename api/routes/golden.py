"""Golden scenarios of a family: what they ask, and which examples people made scenarios of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.http.pagination import Cursor, Limit
from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import GoldenBody
from api.services import Shared
from optimizer.core.base.answers import Page, page_of
from optimizer.jobs.dataset.keep_golden import GoldenRowView, add_golden, list_golden, remove_golden
from optimizer.jobs.record_change import ChangeReport

routes: APIRouter = router("Families")


@routes.get("/v1/families/{family}/golden", **guarded("read-texts"))
def golden(family: str, shared: Shared, cursor: Cursor = None, limit: Limit = 100) -> Page[GoldenRowView]:
    """Every row of the golden scenarios; `example` names the example that it was made of, null for one of the file."""
    return page_of(list_golden(shared.family(family), shared.store), cursor, limit)


@routes.post("/v1/families/{family}/golden", **guarded("operate", "limited"))
def add(family: str, body: GoldenBody, shared: Shared, request: Request, response: Response) -> ChangeReport:
    """Makes a released example a row of a golden scenario, which no search learns from. Safe to repeat."""
    return add_golden(
        shared.family(family),
        body.example,
        scenario=body.scenario,
        reason=body.reason,
        actor=request.state.caller.actor,
        store=kept(request, shared, response),
        clock=shared.clock,
    )


@routes.delete("/v1/families/{family}/golden/{example:path}", **guarded("operate", "limited"))
def remove(
    family: str,
    example: Annotated[str, Path(min_length=1, max_length=200)],
    shared: Shared,
    request: Request,
    response: Response,
    reason: Annotated[str, Query(max_length=2000)] = "",
) -> ChangeReport:
    """Takes an example out of its golden scenario; searches may learn from it again."""
    return remove_golden(
        shared.family(family),
        example,
        reason=reason,
        actor=request.state.caller.actor,
        store=kept(request, shared, response),
        clock=shared.clock,
    )
