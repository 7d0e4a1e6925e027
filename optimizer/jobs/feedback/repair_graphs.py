"""Puts the repairs that an answer proposes for a graph before a person, who approves or rejects each.

A decision, its feedback and its audit are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page, figures_alone, members_of
from optimizer.core.base.errors import Conflict, InvalidInput, NotAuthorised, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.graph.verified import GRAPH, Verdict, VerifiedGraph, applicable, check_family, decide, read_repairs
from optimizer.core.views.graph import GraphSummary, GraphView, RepairView, graph_summary, graph_view
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.sealed_events import sealed_interactions
from optimizer.jobs.feedback.ingest_feedback import IntakeRequest, intake_of
from optimizer.jobs.ids import new_id
from optimizer.jobs.record_change import Change, checked_reason
from optimizer.jobs.request import FamilyPageRequest, FamilyRequest, ItemActRequest, ItemRequest, Name
from optimizer.ports import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedGraph(GraphView):
    """``new`` is False where this interaction's repairs were proposed before."""

    new: bool


class ProposeRequest(FamilyRequest):
    interaction: Annotated[Name, Field(description="Of which the answer proposes repairs of its graph")]


def propose_repairs(context: Context, request: ProposeRequest) -> ProposedGraph:
    """Puts the repairs that an interaction's answer proposes for its graph before a person. Safe to repeat.

    To a key that may not read texts, as an application's, all texts are null: it is told ids and what became of them.
    So they are to every key where the sealed holdout asks the same.

    Raises:
        NotFound: no such interaction of this family.
        InvalidInput: the family proposes no repairs, keeps no texts, or graph or answer cannot be read.
    """
    family, interaction = context.family(request.family), request.interaction
    store, actor = context.store, context.actor
    check_family(family)
    with store.read() as tx:
        proposal = store.graphs.of_interaction(tx, family.name, interaction)
        record = store.events.interaction(tx, interaction, family.name)
    if proposal is None:
        if record is None:
            raise NotFound(
                f"{family.name} has no interaction {interaction!r}. It may have been pruned, or never been reported.",
                interaction=interaction,
            )
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

    def keep(tx: Transaction) -> ProposedGraph:
        is_sealed = bool(_sealed(tx, context, [proposal]))
        before = store.graphs.of_interaction(tx, family.name, interaction)
        if before is None:
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
        answer = ProposedGraph(**members_of(graph_view(before or proposal)), new=before is None)
        return figures_alone(answer) if is_sealed else answer

    return store.write(keep)


UNDO = (
    "none: the decision was counted as feedback, which is never edited. The graph as it was given is kept beside the"
    " repaired one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReport(Change):
    """``changed`` is False where the repair was decided so before.

    ``feedback``: the id of the event that the decision became, or None with ``why_no_feedback``.
    ``no_longer``: pending repairs that an approval has made inapplicable.
    """

    feedback: str | None
    why_no_feedback: str
    no_longer: Sequence[str]
    repair: RepairView
    graph: GraphView


def approve_repair(context: Context, request: ItemActRequest) -> DecisionReport:
    """Carries a pending repair out. Refused where the graph no longer has what it is about. Safe to repeat.

    It takes a key that may also report feedback as a person. There is no undo.
    """
    return _decide(context, request, "approved")


def reject_repair(context: Context, request: ItemActRequest) -> DecisionReport:
    """Leaves the graph as it is without a pending repair. Safe to repeat.

    It takes a key that may also report feedback as a person. There is no undo.
    """
    return _decide(context, request, "rejected")


def _decide(context: Context, request: ItemActRequest, verdict: Verdict) -> DecisionReport:
    """What a decision says of the model's answer becomes a person's feedback on it.

    Raises:
        NotFound: no such graph or repair.
        NotAuthorised: the key may not send feedback of a person, or of this family.
        Conflict: decided otherwise before, the graph no longer has what it is about, or the sealed holdout asks the
            same, so that nobody sees what is decided.
    """
    id, store, actor = request.id, context.store, context.actor
    with store.read() as tx:
        graph = _graph(store, tx, id)
        is_sealed = bool(_sealed(tx, context, [graph]))
    context.require_family(graph.family)
    if is_sealed:
        raise Conflict(
            f"The sealed holdout asks what graph {graph.id} is about, and nobody sees its text. Leave {id} as it is.",
            repair=id,
        )
    why = checked_reason(request.reason)
    graph.repair(id)
    intake = IntakeRequest(intake_of(context))
    # One outcome per repair: whether a person wanted it
    good = verdict == "approved"
    event = {
        "id": id,
        "family": graph.family,
        "interaction": graph.interaction,
        "source": "person",
        "success": good,
        "score": float(good),
        "label": verdict,
        "tags": {"graph": graph.id},
    }
    reads = intake.read([event])
    if intake.rejected:
        refused = intake.rejected[0]
        kind = NotAuthorised if refused["type"] in ("source_not_allowed", "family_not_allowed") else InvalidInput
        raise kind(f"The repair was not decided, since that is feedback of a person: {refused['detail']}")

    def change(tx: Transaction) -> DecisionReport:
        before = _graph(store, tx, id)
        at = context.clock.now()
        after = decide(before, id, verdict, by=actor, reason=why, at=at)
        if after is before:
            return _report(before, after, id, verdict, why, rejected=None)
        store.graphs.decide(tx, before, after)
        result = intake.job(reads)(tx)
        detail = {"repair": id, "reason": why, "graph": before.id}
        store.audit.add(
            tx, at=at, actor=actor, action=f"graph.{verdict}", family=before.family, subject=id, detail=detail
        )
        rejected = result["rejected"][0]["detail"] if result["rejected"] else ""
        return _report(before, after, id, verdict, why, rejected=rejected)

    return store.write(change, rows=3)


def _sealed(tx: Transaction, context: Context, graphs: Sequence[VerifiedGraph]) -> set[str]:
    """Ids of those whose interactions the sealed holdout asks, too."""
    ids = {(graph.family, graph.interaction): graph.id for graph in graphs}
    stored = context.store.events.interactions(tx, {graph.interaction for graph in graphs})
    own = [each for same_id in stored.values() for each in same_id if (each.arm.family, each.id) in ids]
    return {ids[name] for name in sealed_interactions(tx, context.store, own, context.families().families)}


def _graph(store: Store, tx: Transaction, repair: str) -> VerifiedGraph:
    graph = store.graphs.get(tx, repair.rpartition(".")[0])
    if graph is None:
        raise NotFound(
            f"There is no repair {repair!r}. `detent graph list` shows the pending ones; its graph may have been"
            " pruned.",
            repair=repair,
        )
    return graph


def _report(
    before: VerifiedGraph, after: VerifiedGraph, id: str, verdict: Verdict, why: str, *, rejected: str | None
) -> DecisionReport:
    one = after.repair(id)
    changed = rejected is not None
    n_pending = len(after.pending)
    onward = f"detent graph show {after.id}"
    return DecisionReport(
        what=f"{id} {'is' if changed else 'was'} {verdict}: {one.repair}",
        why=why if changed else one.reason,
        undo=UNDO,
        next=f"{onward} ({count(n_pending, 'repair')} pending)" if n_pending else f"{onward} --repaired",
        changed=changed,
        feedback=id if not rejected else None,
        why_no_feedback=rejected or "",
        no_longer=sorted(applicable(before) - applicable(after) - {id}),
        repair=RepairView(**members_of(one), what=str(one.repair)),
        graph=graph_view(after),
    )


class GraphsRequest(FamilyPageRequest):
    pending: Annotated[bool | None, Field(description="Whether a repair is pending; left out: all")] = None


def read_graphs(context: Context, request: GraphsRequest) -> Page[GraphSummary]:
    """Verified graphs with the repairs proposed for them, oldest first; without texts where the sealed holdout asks the
    same.
    """
    family, store = context.family_asked(request.family), context.store
    with store.read() as tx:
        graphs, next_cursor = store.graphs.page(
            tx, family=family, pending=request.pending, cursor=request.cursor, limit=request.limit
        )
        sealed = _sealed(tx, context, graphs)
    views = {graph.id: graph_summary(graph) for graph in graphs}
    items = [figures_alone(view) if id in sealed else view for id, view in views.items()]
    return Page(items=items, next_cursor=next_cursor)


def read_graph(context: Context, request: ItemRequest) -> GraphView:
    """One graph as it was given and as it is with what was approved, its repairs, and what the model was shown. All
    texts are null where the sealed holdout asks the same.
    """
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
        is_sealed = bool(_sealed(tx, context, [graph]))
    view = graph_view(graph, interaction.input if interaction is not None else None)
    return figures_alone(view) if is_sealed else view
