"""Graphs that were verified, with the repairs proposed for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page
from optimizer.core.base.errors import NotFound
from optimizer.core.views.graph import GraphSummary, GraphView, graph_summary, graph_view
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.sealed_events import sealed_interactions
from optimizer.jobs.request import FamilyPageRequest, ItemRequest


class GraphsRequest(FamilyPageRequest):
    pending: Annotated[bool | None, Field(description="Whether a repair is pending; left out: all")] = None


def read_graphs(context: Context, request: GraphsRequest) -> Page[GraphSummary]:
    """Verified graphs with the repairs proposed for them, oldest first."""
    family, store = context.family_asked(request.family), context.store
    with store.read() as tx:
        graphs, next_cursor = store.graphs.page(
            tx, family=family, pending=request.pending, cursor=request.cursor, limit=request.limit
        )
    return Page(items=[graph_summary(graph) for graph in graphs], next_cursor=next_cursor)


def read_graph(context: Context, request: ItemRequest) -> GraphView:
    """One graph as it was given and as it is with what was approved, its repairs, and what the model was shown."""
    store = context.store
    with store.read() as tx:
        graph = store.graphs.get(tx, request.id)
        if graph is None:
            raise NotFound(
                f"There is no graph {request.id!r}. It may have been pruned; detent graph list --status all shows"
                " them.",
                graph=request.id,
            )
        context.require_family(graph.family)
        interaction = store.events.interaction(tx, graph.interaction, graph.family)
        declared = context.families().families
        is_sealed = interaction is not None and sealed_interactions(tx, store, [interaction], declared)
    return graph_view(graph, interaction.input if interaction is not None and not is_sealed else None)
