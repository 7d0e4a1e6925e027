"""Puts the repairs that an answer proposes for a graph before a person: each is pending until it is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.graph.verified import GRAPH, VerifiedGraph, check_family, read_repairs
from optimizer.core.views.graph import GraphView, graph_view
from optimizer.jobs.context import Context
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import FamilyRequest, Name
from optimizer.ports import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedGraph(GraphView):
    """``new`` is False where this interaction's repairs were proposed before."""

    new: bool


class ProposeRequest(FamilyRequest):
    interaction: Annotated[Name, Field(description="Of which the answer proposes repairs of its graph")]


def propose_repairs(context: Context, request: ProposeRequest) -> ProposedGraph:
    """Puts the repairs that an interaction's answer proposes for its graph before a person. Safe to repeat.

    To a key that may not read texts, as an application's, all texts are null: it is told ids and what became of them.

    Raises:
        NotFound: no such interaction of this family.
        InvalidInput: the family proposes no repairs, keeps no texts, or graph or answer cannot be read.
    """
    family, interaction = context.family(request.family), request.interaction
    store, actor = context.store, context.actor
    check_family(family)
    with store.read() as tx:
        known = store.graphs.of_interaction(tx, family.name, interaction)
        record = store.events.interaction(tx, interaction, family.name)
    if known is None and record is None:
        raise NotFound(
            f"{family.name} has no interaction {interaction!r}. It may have been pruned, or never been reported.",
            interaction=interaction,
        )
    proposal = known
    if known is None and record is not None:
        if record.input is None or GRAPH not in record.input or record.output is None:
            raise InvalidInput(
                f"Interaction {interaction!r} has no graph and answer in the store: report it with input.{GRAPH} and"
                f" output; a family with privacy.store metadata (here {family.privacy.store}) keeps neither."
            )
        id = new_id("gr")
        graph, repairs, unreadable = read_repairs(family, record.input, record.output, id=id)
        proposal = VerifiedGraph(
            id=id,
            family=family.name,
            interaction=interaction,
            given=graph,
            repairs=repairs,
            unreadable=unreadable,
            unit_hmac=record.arm.unit_hmac,
            received_at=record.received_at,
            created_by=actor,
            created_at=context.clock.now(),
        )
    assert proposal is not None

    def report(graph: VerifiedGraph, *, new: bool) -> ProposedGraph:
        return ProposedGraph(**members_of(graph_view(graph)), new=new)

    def keep(tx: Transaction) -> ProposedGraph:
        before = store.graphs.of_interaction(tx, family.name, interaction)
        if before is not None:
            return report(before, new=False)
        store.graphs.add(tx, proposal)
        detail = {
            "interaction": interaction,
            "n_repairs": len(proposal.repairs),
            "n_unreadable": len(proposal.unreadable),
        }
        store.audit.add(
            tx,
            at=proposal.created_at,
            actor=actor,
            action="graph.propose",
            family=family.name,
            subject=proposal.id,
            detail=detail,
        )
        return report(proposal, new=True)

    return store.write(keep)
