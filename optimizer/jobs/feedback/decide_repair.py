"""A person approves or rejects one repair of a graph: decision, feedback and audit in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import InvalidInput, NotAuthorised, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.graph.verified import Verdict, VerifiedGraph, applicable, decide
from optimizer.core.views.graph import GraphView, RepairView, graph_view
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.ingest_feedback import intake_of
from optimizer.jobs.record_change import checked_reason
from optimizer.jobs.request import ItemActRequest
from optimizer.ports import Store, Transaction

UNDO = (
    "none: the decision was counted as feedback, which is never edited. The graph as it was given is kept beside the"
    " repaired one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReport:
    """``changed`` is False where the repair was decided so before.

    ``feedback``: the id of the event that the decision became, or None with ``why_no_feedback``.
    ``no_longer``: pending repairs that an approval has made inapplicable.
    """

    what: str
    why: str
    undo: str
    next: str
    changed: bool
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
        Conflict: decided otherwise before, or the graph no longer has what it is about.
    """
    id, store, actor = request.id, context.store, context.actor
    with store.read() as tx:
        graph = _graph(store, tx, id)
    context.require_family(graph.family)
    why = checked_reason(request.reason)
    graph.repair(id)
    intake = intake_of(context).request()
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
        result = intake.keep(tx, reads)
        detail = {"repair": id, "reason": why, "graph": before.id}
        store.audit.add(
            tx, at=at, actor=actor, action=f"graph.{verdict}", family=before.family, subject=id, detail=detail
        )
        rejected = result["rejected"][0]["detail"] if result["rejected"] else ""
        return _report(before, after, id, verdict, why, rejected=rejected)

    return store.write(change, rows=3)


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
