"""Puts the repairs that an answer proposes for a graph before a person: each is pending until it is decided."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.family.family import Family
from optimizer.core.graph.verified import GRAPH, VerifiedGraph, check_family, verified_graph
from optimizer.core.views.graph import GraphView, graph_view, without_texts
from optimizer.jobs.ids import new_id
from optimizer.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedGraph(GraphView):
    """``new`` is False where this interaction's repairs were proposed before."""

    new: bool


def propose_repairs(
    family: Family, interaction: str, *, actor: str, store: Store, clock: Clock, texts: bool = True
) -> ProposedGraph:
    """Reads graph and answer of an interaction as the store keeps them, masks included. Safe to repeat.

    Args:
        texts: whether the actor may read them; else they are None in the report, which says ids and what became of
            them.
    Raises:
        NotFound: no such interaction of this family.
        InvalidInput: the family proposes no repairs, keeps no texts, or graph or answer cannot be read.
    """
    check_family(family)
    with store.read() as tx:
        known = store.graphs.of_interaction(tx, family.name, interaction)
        asked = store.events.interaction(tx, interaction, family.name)
    if known is None and asked is None:
        raise NotFound(
            f"{family.name} has no interaction {interaction!r}. It may have been pruned, or never been reported.",
            interaction=interaction,
        )
    made = known
    if known is None and asked is not None:
        if asked.input is None or GRAPH not in asked.input or asked.output is None:
            raise InvalidInput(
                f"Interaction {interaction!r} has no graph and answer in the store: report it with input.{GRAPH} and"
                f" output; a family with privacy.store metadata (here {family.privacy.store}) keeps neither."
            )
        made = verified_graph(
            family, asked.input, asked.output, id=new_id("gr"), interaction=interaction, unit_hmac=asked.arm.unit_hmac,
            received_at=asked.received_at, created_by=actor, created_at=clock.now(),
        )  # fmt: skip
    assert made is not None

    def report(graph: VerifiedGraph, *, new: bool) -> ProposedGraph:
        view = graph_view(graph)
        return ProposedGraph(**members_of(view if texts else without_texts(view)), new=new)

    def keep(tx: Transaction) -> ProposedGraph:
        before = store.graphs.of_interaction(tx, family.name, interaction)
        if before is not None:
            return report(before, new=False)
        store.graphs.add(tx, made)
        detail = {"interaction": interaction, "n_repairs": len(made.repairs), "n_unreadable": len(made.unreadable)}
        store.audit.add(
            tx, at=made.created_at, actor=actor, action="graph.propose", family=family.name, subject=made.id,
            detail=detail,
        )  # fmt: skip
        return report(made, new=True)

    return store.write(keep)
