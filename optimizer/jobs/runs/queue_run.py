"""Queues what a worker does outside a study, held to the month, reads how far each is, and stops it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import Field

from optimizer.core.base.answers import Page, page_read
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.core.base.values import Budget, Spread
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.evaluation.run import ComparisonRun, QueuedRun, RunSummary
from optimizer.core.family.family import Family
from optimizer.core.models.budget import checked_budget
from optimizer.core.scheduling.monthly_budget import under
from optimizer.core.views.evaluation import EvaluationRun
from optimizer.core.views.forgetting import ForgetRun
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyPageRequest, StrictModel
from optimizer.jobs.studies.plan_evaluation import calls_at_most
from optimizer.jobs.studies.read_spending import left_this_month
from optimizer.ports import Transaction

R = TypeVar("R", bound=QueuedRun)
V = TypeVar("V")
_UNKNOWN: Mapping[type[QueuedRun], str] = {
    ComparisonRun: "There is no comparison {id!r}.",
    EvaluationRun: "There is no evaluation {id!r}.",
    ForgetRun: "There is no forgetting {id!r}.",
    JudgeRun: "There is no judge run {id!r}. See them with: detent judge runs FAMILY.",
}


class RunBudgetBody(StrictModel):
    usd: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None


def budget_of_run(context: Context, family: Family, cap: RunBudgetBody, calls: Spread, usd: Spread | None) -> Budget:
    """The run's budget: it has a cap of calls or dollars, and lies within what is left of the month.

    Of the month it takes no more than it may need, since what a run may spend is withheld from all others until it
    ends.

    Args:
        calls, usd: the most that it may take.
    Raises:
        BudgetTooSmall: a cap in dollars that would exceed a monthly limit.
    """
    budget, most = checked_budget(Budget(usd=cap.usd, calls=cap.calls)), calls_at_most(calls)
    is_open = budget.usd is None
    if is_open and budget.calls is None:
        budget = replace(budget, calls=most)
    with context.store.read() as tx:
        budget = under(left_this_month(tx, context, family), budget)
    if is_open and budget.usd is not None and usd is not None and calls.high:
        return replace(budget, usd=min(budget.usd, usd.high * most / calls.high))
    return budget


def queue_run(
    context: Context, tx: Transaction, family: Family, run: R, *, action: str, detail: Mapping[str, Any]
) -> R:
    """Raises what another act has brought about meanwhile: Conflict where the family was retired or renamed,
    BudgetTooSmall where a run has taken what was left of the month.
    """
    present = context.store.family_names.former(tx).get(family.name, family.name)
    if present != family.name:
        raise Conflict(f"{family.name} became {present} while this was prepared. Nothing was queued; ask again.")
    under(left_this_month(tx, context, family), run.budget)
    context.store.runs.add(tx, run)
    context.store.audit.add(
        tx, at=run.created_at, actor=context.actor, action=action, family=family.name, subject=run.id, detail=detail
    )
    return run


def read_run(context: Context, id: str, kind: type[R]) -> R:
    """Raises NotFound; to a key for other families it does not exist."""
    with context.store.read() as tx:
        return _run(context, tx, id, kind)


def stop_run(context: Context, id: str, kind: type[R], *, view: Callable[[R], V], action: str) -> V:
    """Stops it before its next call. Safe to repeat.

    One that has not begun, or that no process does any more, is cancelled at once.

    Args:
        view: what is answered, made within the transaction, which keeps the answer under an Idempotency-Key.
    """
    store, now = context.store, context.clock.now()
    is_left = not context.is_worker_running()

    def stop(tx: Transaction) -> V:
        run = _run(context, tx, id, kind)
        if run.has_ended or (run.stop_requested and not is_left):
            return view(run)
        store.audit.add(tx, at=now, actor=context.actor, action=action, family=run.family, subject=run.id, detail={})
        ended: dict[str, Any] = {"status": "cancelled", "finished_at": now} if is_left or run.status == "queued" else {}
        changes: dict[str, Any] = {"stop_requested": True, **ended}
        store.runs.update(tx, run.id, **changes)
        return view(replace(run, **changes))

    return store.write(stop, rows=2)


def _run(context: Context, tx: Transaction, id: str, kind: type[R]) -> R:
    run = context.store.runs.get(tx, id)
    if not isinstance(run, kind) or not context.access.may_see(run.family):
        raise NotFound(_UNKNOWN[kind].format(id=id), run=id)
    return run


class RunsRequest(FamilyPageRequest):
    ended: Annotated[bool | None, Field(description="Only those that have ended, or have not")] = None
    kind: Annotated[str | None, Field(description="Only those: compare, evaluate, score, check or forget")] = None


def read_runs(context: Context, request: RunsRequest) -> Page[RunSummary]:
    """Judge runs, comparisons and evaluations, the newest first, each with how many of its questions were asked."""
    families = context.access.families
    if request.family is not None:
        context.require_family(request.family)
        families = (request.family,)
    runs = context.store.runs
    with context.store.read() as tx:
        return page_read(
            lambda start, n: runs.latest(tx, families, n, start=start, ended=request.ended, kind=request.kind),
            request.cursor,
            request.limit,
        )
