"""Graphs that were verified: the repairs proposed for them, and a person's word on each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.access.auth import family_asked, require_family
from api.http.pagination import Cursor, Limit
from api.idempotency import kept
from api.routing import Asking, guarded, router
from api.schemas import ProposeBody, ReasonBody
from api.services import Services, Shared
from optimizer.core.base.answers import Page
from optimizer.core.base.errors import NotFound
from optimizer.core.graph.verified import Verdict, VerifiedGraph
from optimizer.core.views.graph import GraphSummary, GraphView, graph_summary, graph_view
from optimizer.jobs.feedback.decide_repair import DecisionReport, decide_repair, graph_of
from optimizer.jobs.feedback.propose_repairs import ProposedGraph, propose_repairs
from optimizer.ports import Transaction

routes: APIRouter = router("Graphs")


@routes.post(
    "/v1/families/{family}/graphs",
    status_code=201,
    **guarded("feedback", keyed=True, also={200: "They were proposed before; this is the graph."}),
)
def propose(family: str, body: ProposeBody, shared: Shared, request: Request, response: Response) -> ProposedGraph:
    """Puts the repairs that an interaction's answer proposes for its graph before a person. Safe to repeat.

    To a key that may not read texts, as an application's, all texts are null: it is told ids and what became of them.
    """
    caller = request.state.caller

    def answer(made: ProposedGraph) -> ProposedGraph:
        response.status_code = 201 if made.new else 200
        response.headers["Location"] = f"/v1/graphs/{made.id}"
        return made

    return answer(
        propose_repairs(
            shared.family(family), body.interaction, actor=caller.actor, store=kept(request, shared, response, answer),
            clock=shared.clock, texts=caller.access.reaches("read-texts"),
        )
    )  # fmt: skip


@routes.get("/v1/graphs", **guarded("read-texts", narrows=True))
def graphs(
    shared: Shared,
    caller: Asking,
    family: Annotated[str | None, Query(max_length=200)] = None,
    pending: Annotated[bool | None, Query(description="Whether a repair is pending; left out: all")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[GraphSummary]:
    """Verified graphs with the repairs proposed for them, oldest first."""
    asked = family_asked(caller, family)
    found, next_cursor = shared.read(
        lambda tx: shared.store.graphs.page(tx, family=asked, pending=pending, cursor=cursor, limit=limit)
    )
    return Page(items=[graph_summary(one) for one in found], next_cursor=next_cursor)


@routes.get("/v1/graphs/{id}", **guarded("read-texts", narrows=True))
def graph(id: str, shared: Shared, caller: Asking) -> GraphView:
    """One graph as it was given and as it is with what was approved, its repairs, and what the model was shown."""

    def read(tx: Transaction) -> GraphView:
        found = shared.store.graphs.get(tx, id)
        if found is None:
            raise _unknown(id)
        require_family(caller, found.family)
        shown = shared.store.events.interaction(tx, found.interaction, found.family)
        return graph_view(found, shown.input if shown is not None else None)

    return shared.read(read)


@routes.post("/v1/repairs/{id}/approve", **guarded("operate", "limited", narrows=True))
def approve(
    id: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> DecisionReport:
    """Carries a pending repair out. Refused where the graph no longer has what it is about. Safe to repeat."""
    return _decide(id, "approved", body, shared, request, response)


@routes.post("/v1/repairs/{id}/reject", **guarded("operate", "limited", narrows=True))
def reject(
    id: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> DecisionReport:
    """Leaves the graph as it is without a pending repair. Safe to repeat."""
    return _decide(id, "rejected", body, shared, request, response)


def _decide(
    id: str, verdict: Verdict, body: ReasonBody | None, shared: Services, request: Request, response: Response
) -> DecisionReport:
    caller = request.state.caller
    found: VerifiedGraph | None = shared.read(lambda tx: shared.store.graphs.get(tx, graph_of(id)))
    if found is not None:
        require_family(caller, found.family)
    return decide_repair(
        id,
        verdict,
        reason=body.reason if body is not None else None,
        actor=caller.actor,
        store=kept(request, shared, response),
        clock=shared.clock,
        intake=shared.intake(caller.actor, access=caller.access),
    )


def _unknown(id: str) -> NotFound:
    return NotFound(f"There is no graph {id!r}. It may have been pruned; GET /v1/graphs lists them.", graph=id)
