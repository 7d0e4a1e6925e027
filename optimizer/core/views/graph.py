"""A verified graph as people see it: each repair with whether it applies now, and what it conflicts with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from optimizer.core.base.answers import Json, Text, members_of
from optimizer.core.graph.graph import Graph
from optimizer.core.graph.repair import conflicts
from optimizer.core.graph.verified import (
    GRAPH,
    ProposedRepair,
    Unreadable,
    VerifiedGraph,
    applicable,
    reasons_against,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairView(ProposedRepair):
    """A repair, as data and (``what``) in words."""

    what: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairConflict:
    """Another pending repair that cannot be carried out beside this one."""

    repair: str
    why: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairInGraph(RepairView):
    """``applies``: whether a pending repair applies to the graph as it is now; None of one that was decided."""

    applies: bool | None
    why_not: Text[str | None]
    conflicts: Sequence[RepairConflict]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSummary:
    """A verified graph without the graph itself and the text."""

    id: str
    family: str
    interaction: str
    n_pending: int
    repairs: Sequence[RepairInGraph]
    unreadable: Sequence[Unreadable]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphView(GraphSummary):
    """The same with the graph as it was given, and as it is with what was approved.

    ``input``: what else the model was shown; None where nobody asks, or it is not kept.
    """

    input: Text[Mapping[str, Json] | None]
    given: Text[Graph]
    repaired: Text[Graph]


def graph_view(graph: VerifiedGraph, input: Mapping[str, Json] | None = None) -> GraphView:
    others = None if input is None else {name: value for name, value in input.items() if name != GRAPH}
    return GraphView(**members_of(graph_summary(graph)), input=others, given=graph.given, repaired=graph.repaired)


def graph_summary(graph: VerifiedGraph) -> GraphSummary:
    # Of the pending repairs that apply: by id, those that it conflicts with, and why.
    apply = applicable(graph)
    not_now, against = (
        reasons_against(graph),
        conflicts({proposed.id: proposed.repair for proposed in graph.pending if proposed.id in apply}, graph.repaired),
    )
    repairs = [
        RepairInGraph(
            **members_of(one),
            what=str(one.repair),
            applies=one.id not in not_now if one.status == "pending" else None,
            why_not=not_now.get(one.id),
            conflicts=[RepairConflict(repair=other, why=why) for other, why in against.get(one.id, {}).items()],
        )
        for one in graph.repairs
    ]
    return GraphSummary(
        id=graph.id,
        family=graph.family,
        interaction=graph.interaction,
        n_pending=len(graph.pending),
        repairs=repairs,
        unreadable=graph.unreadable,
        created_by=graph.created_by,
        created_at=graph.created_at,
    )
