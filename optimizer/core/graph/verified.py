"""A graph that a model has verified: the original graph, the proposed repairs, and what a person decided.

The present graph is never stored: it is the original with the approved repairs, in the order of their approval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from optimizer.core.base.answers import Text
from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import parse_output
from optimizer.core.graph.graph import Graph, read_graph, thing_text, things_in
from optimizer.core.graph.repair import Repair, missing_in, read_repair

GRAPH = "graph"  # the input that holds it
REPAIRS = "repairs"  # the member of the answer
MOST_REPAIRS = 100  # of an answer: a person reads each
Verdict = Literal["approved", "rejected"]
Status = Literal["pending", "approved", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedRepair:
    """One repair. ``order``: its place among the approvals, from 1, where it was approved."""

    id: str
    repair: Text[Repair]
    status: Status = "pending"
    order: int | None = None
    decided_by: Text[str | None] = None
    decided_at: datetime | None = None
    reason: Text[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A part of the answer that is no repair: its place in the list from 0, and what is wrong with it."""

    index: int
    detail: Text[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedGraph:
    """``given``: the graph that the model was shown. ``received_at``: when its interaction was received."""

    id: str
    family: str
    interaction: str
    given: Graph
    repairs: tuple[ProposedRepair, ...]
    unreadable: tuple[Unreadable, ...] = ()
    unit_hmac: str | None = None
    received_at: datetime
    created_by: str
    created_at: datetime

    @property
    def pending(self) -> tuple[ProposedRepair, ...]:
        return tuple(proposed for proposed in self.repairs if proposed.status == "pending")

    @property
    def approved(self) -> tuple[ProposedRepair, ...]:
        """The approved repairs in the order of approval."""
        return tuple(
            sorted((each for each in self.repairs if each.order is not None), key=lambda each: each.order or 0)
        )

    @property
    def repaired(self) -> Graph:
        """The graph after every approved repair."""
        graph = self.given
        for proposed in self.approved:
            graph = proposed.repair.applied(graph)
        return graph

    def repair(self, id: str) -> ProposedRepair:
        proposed = next((each for each in self.repairs if each.id == id), None)
        if proposed is None:
            raise NotFound(f"Graph {self.id} has no repair {id!r}; detent graph show {self.id} lists them.", repair=id)
        return proposed


def read_repairs(
    family: Family, input: Mapping[str, Any], output: str, *, id: str
) -> tuple[Graph, tuple[ProposedRepair, ...], tuple[Unreadable, ...]]:
    """The graph that the model was given, and what its answer proposes for it, where a repair can be read.

    Each repair is named by the graph's ``id`` and its number in the answer. One that says the same as an earlier one is
    left out.

    Raises:
        InvalidInput: the family proposes no repairs, or the graph or the whole answer cannot be read.
    """
    check_family(family)
    graph = read_graph(input.get(GRAPH))
    repairs: dict[Repair, ProposedRepair] = {}
    unreadable: list[Unreadable] = []
    for index, item in enumerate(_items(family, output)):
        try:
            repair = read_repair(item)
        except ValueError as error:
            unreadable.append(Unreadable(index=index, detail=str(error)))
            continue
        repairs.setdefault(repair, ProposedRepair(id=f"{id}.{index + 1}", repair=repair))
    return graph, tuple(repairs.values()), tuple(unreadable)


def check_family(family: Family) -> None:
    """Raises InvalidInput where answers of the family cannot hold repairs of a graph."""
    field = family.inputs.get(GRAPH)
    if field is None or field.type != "json" or family.output.parser != "json":
        raise InvalidInput(
            f"{family.name} proposes no repairs of a graph: that takes an input {GRAPH!r} of type json, and an output"
            f" read as json that holds {REPAIRS!r}. The family graph_verification is made so."
        )


def decide(graph: VerifiedGraph, id: str, verdict: Verdict, *, by: str, reason: str, at: datetime) -> VerifiedGraph:
    """The graph with this repair approved or rejected; the same graph where it was decided so before.

    Raises:
        NotFound: it has no such repair.
        Conflict: it was decided otherwise, or, to approve it, the graph no longer has what it is about.
    """
    repair = graph.repair(id)
    if repair.status == verdict:
        return graph
    if repair.status != "pending":
        raise Conflict(
            f"Repair {id} was {repair.status} by {repair.decided_by} before, and that stays: it was counted as"
            " feedback.",
            status=repair.status,
        )
    if verdict == "approved":
        why = reasons_against(graph).get(id)
        if why is not None:
            raise Conflict(
                f"Repair {id} cannot be approved: {why}. Reject it (detent graph reject {id}), or leave it pending.",
                repair=id,
            )
    order = len(graph.approved) + 1 if verdict == "approved" else None
    done = replace(repair, status=verdict, order=order, decided_by=by, decided_at=at, reason=reason)
    return replace(graph, repairs=tuple(done if other.id == id else other for other in graph.repairs))


def reasons_against(graph: VerifiedGraph) -> dict[str, str]:
    """Pending repair -> why it does not apply to the present graph; names the approval that made it so."""
    never = {proposed.id: missing_in(graph.given, proposed.repair) for proposed in graph.pending}
    reasons = {
        id: f"it is about the {thing_text(things[0])}, which the graph never had"
        for id, things in never.items()
        if things
    }
    now = graph.given
    for earlier in graph.approved:
        now = earlier.repair.applied(now)
        there = things_in(now)
        for proposed in graph.pending:
            missing = proposed.repair.needs - there
            if not missing:
                reasons.pop(proposed.id, None)  # a merge has made it
            elif proposed.id not in reasons:
                reasons[proposed.id] = (
                    f"it no longer applies, since repair {earlier.id} ({earlier.repair}), which {earlier.decided_by}"
                    f" approved, took away the {thing_text(min(missing))}"
                )
    return reasons


def applicable(graph: VerifiedGraph) -> set[str]:
    """The pending repairs that apply to the present graph."""
    there = things_in(graph.repaired)
    return {proposed.id for proposed in graph.pending if proposed.repair.needs <= there}


def _items(family: Family, output: str) -> Sequence[Any]:
    read = parse_output(family.output, output)
    why = read.error
    if why is None:
        items = read.value.get(REPAIRS) if isinstance(read.value, Mapping) else None
        if isinstance(items, list) and len(items) <= MOST_REPAIRS:
            return items
        why = (
            f"it has {count(len(items), 'repair')}, and {MOST_REPAIRS} is the most that a person is shown"
            if isinstance(items, list)
            else f"it has no list {REPAIRS!r}"
        )
    raise InvalidInput(f"The answer proposes no repairs that could be read: {why}. Nothing was kept.")
