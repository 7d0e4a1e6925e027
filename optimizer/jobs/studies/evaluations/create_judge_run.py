"""Queues what a family's judge is asked to do in the background: score users' answers, or be checked for biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Page
from optimizer.core.base.errors import NotFound
from optimizer.core.base.spread import Spread
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.identity import judge_identity, judge_of
from optimizer.core.evaluation.judging.run import JudgeRequest, JudgeRun, JudgeRunEstimate, RunKind
from optimizer.core.family.family import Family
from optimizer.core.feedback.judge_sampling import MOST_DAYS
from optimizer.core.models.budget import checked_budget, require_bounded
from optimizer.core.scheduling.monthly_budget import MonthlyLimits, Remainder, under
from optimizer.core.views.judge import JudgeRunView, judge_run_view
from optimizer.jobs.context import Context
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.feedback.judge_traffic import estimate_judging, latest_answers
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import Name, Reason, Request
from optimizer.jobs.studies.evaluations.check_judge import estimate_check
from optimizer.jobs.studies.evaluations.plan_evaluation import calls_at_most
from optimizer.jobs.studies.read_spending import monthly_left
from optimizer.ports import ModelCatalogue, Transaction

MOST_SCORED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunDraft:
    """``n_asked``: answers or examples of the estimate. The rest is as in JudgeRun and JudgeRunEstimate."""

    kind: RunKind
    request: JudgeRequest
    n: int
    n_asked: int
    members: Sequence[str]
    calls: Spread
    usd: Spread | None
    why_none: str | None = None


class JudgeBudgetBody(Request):
    usd: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None


class JudgeScoreRequest(Request):
    family: str
    n: Annotated[int, Field(ge=1, le=MOST_SCORED, description="Answers at most")] = 50
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, description="Of so many days back")] = 30.0
    budget: Annotated[JudgeBudgetBody, Field(description="Default: the calls_at_most of a dry run")] = JudgeBudgetBody()
    dry_run: Annotated[bool, Field(description="Say what would be, and keep nothing")] = False


class JudgeCheckRequest(Request):
    family: str
    n: Annotated[int, Field(ge=1, description="Dev examples at most; fewer than 20 tell nothing")] = 40
    beside: Annotated[Name | None, Field(description="A model that judges the judge's own answers, too")] = None
    budget: Annotated[JudgeBudgetBody, Field(description="Default: the calls_at_most of a dry run")] = JudgeBudgetBody()
    dry_run: Annotated[bool, Field(description="Say what would be, and keep nothing")] = False


class JudgeRunActRequest(Request):
    id: str
    reason: Reason = ""


class JudgeRunReadRequest(Request):
    id: str


class JudgeRunsRequest(Request):
    family: str
    limit: Annotated[int, Field(ge=1, le=1000, description="How many items a page has at most")] = 100


def read_judge_runs(context: Context, request: JudgeRunsRequest) -> Page[JudgeRunView]:
    """What the judge was asked to score or to be checked for, the latest first."""
    context.family(request.family)
    with context.store.read() as tx:
        found = context.store.judge_runs.latest(tx, request.family, request.limit)
    return Page(items=[judge_run_view(one) for one in found])


def read_judge_run(context: Context, request: JudgeRunReadRequest) -> JudgeRunView:
    """How far a run is, and at its end what was found."""
    with context.store.read() as tx:
        return judge_run_view(_seen(context, tx, request.id))


def score_answers(context: Context, request: JudgeScoreRequest) -> JudgeRunView | JudgeRunEstimate:
    """Queues the scoring of answers that users were given, drawn at random, none twice; 202 with its Location.

    Without a cap of calls or dollars it may make as many calls as the estimate's `calls_at_most`. Under a monthly limit
    a run without a cap in dollars gets what it may need at most of what is left.

    Raises:
        InvalidInput: a number out of range, or the family has no judge or keeps no texts.
        NotFound: an unknown model. BudgetTooSmall: a cap in dollars, which a monthly limit is too, over a member
            without a known price, or one that would pass a monthly limit.
    """
    family, models = context.family(request.family), context.models()
    require_known_models(family, models)
    left = latest_answers(family, request.n, days=request.days, store=context.store, clock=context.clock)
    calls, usd = estimate_judging(family, left.ids, store=context.store, models=models)
    drafted = _RunDraft(
        kind="score", request={"interactions": left.ids}, n=len(left.ids), n_asked=len(left.ids),
        members=judge_of(family).members, calls=calls, usd=usd, why_none=left.why_none,
    )  # fmt: skip
    return _queue(context, family, drafted, request.budget, models, dry_run=request.dry_run)


def check_biases(context: Context, request: JudgeCheckRequest) -> JudgeRunView | JudgeRunEstimate:
    """Queues a check of the judge's biases; 202 with its Location.

    Raises as ``check_judge`` does, and as ``score_answers``.
    """
    family, models = context.family(request.family), context.models()
    told = estimate_check(family, n=request.n, beside=request.beside, store=context.store, models=models)
    drafted = _RunDraft(
        kind="check", request={"n": request.n, "beside": request.beside}, n=told.n_questions, n_asked=told.n,
        members=told.members, calls=told.calls, usd=told.usd,
    )  # fmt: skip
    return _queue(context, family, drafted, request.budget, models, dry_run=request.dry_run)


def _queue(
    context: Context,
    family: Family,
    drafted: _RunDraft,
    asked: JudgeBudgetBody,
    models: ModelCatalogue,
    *,
    dry_run: bool,
) -> JudgeRunView | JudgeRunEstimate:
    judge, most, store, clock = judge_of(family), calls_at_most(drafted.calls), context.store, context.clock
    limits = MonthlyLimits(family_usd=family.budget.usd_per_month, all_usd=context.settings.usd_per_month)
    with store.read() as tx:
        left = monthly_left(tx, store, clock, family.name, limits)
    budget = _capped(checked_budget(Budget(usd=asked.usd, calls=asked.calls)), left, drafted, most)
    for name in judge.members:
        require_bounded(name, models.price(name), judge.max_tokens, budget)
    if dry_run:
        return JudgeRunEstimate(
            family=family.name, kind=drafted.kind, members=drafted.members, n=drafted.n_asked, calls=drafted.calls,
            usd=drafted.usd, calls_at_most=most, why_none=drafted.why_none,
        )  # fmt: skip
    now = clock.now()
    run = JudgeRun(
        id=new_id("jr"),
        family=family.name,
        kind=drafted.kind,
        judge=judge_identity(family),
        request={**drafted.request, "is_priced": drafted.usd is not None, "why_none": drafted.why_none},
        budget=budget,
        status="queued",
        n=drafted.n,
        created_by=context.actor,
        created_at=now,
    )

    def keep(tx: Transaction) -> JudgeRunView:
        under(monthly_left(tx, store, clock, family.name, limits), run.budget)  # another may have begun meanwhile
        store.judge_runs.add(tx, run)
        detail = {"n": drafted.n_asked, "judge": run.judge}
        store.audit.add(
            tx, at=now, actor=context.actor, action=f"judge.{run.kind}", family=family.name, subject=run.id,
            detail=detail,
        )  # fmt: skip
        return judge_run_view(run)

    return store.write(keep, rows=2)


def _capped(budget: Budget, left: Remainder, drafted: _RunDraft, most: int) -> Budget:
    """With a cap of calls or dollars, and under what is left of the month: of that no more than it may need, since
    what a run may spend is kept from all others until it ends.
    """
    is_open = budget.usd is None
    if is_open and budget.calls is None:
        budget = replace(budget, calls=most)
    budget = under(left, budget)
    if is_open and budget.usd is not None and drafted.usd is not None and drafted.calls.high:
        return replace(budget, usd=min(budget.usd, drafted.usd.high * most / drafted.calls.high))
    return budget


def stop_judge_run(context: Context, request: JudgeRunActRequest) -> JudgeRunView:
    """Stops a run before its next call; what was scored stays. Safe to repeat.

    One that has not begun is cancelled at once.
    """
    store, now = context.store, context.clock.now()

    def stop(tx: Transaction) -> JudgeRunView:
        run = _seen(context, tx, request.id)
        if run.has_ended or run.stop_requested:
            return judge_run_view(run)
        store.audit.add(
            tx, at=now, actor=context.actor, action="judge.stop", family=run.family, subject=run.id, detail={}
        )
        ended: dict[str, Any] = {"status": "cancelled", "finished_at": now} if run.status == "queued" else {}
        return judge_run_view(store.judge_runs.update(tx, run.id, stop_requested=True, **ended))

    return store.write(stop, rows=2)


def _seen(context: Context, tx: Transaction, id: str) -> JudgeRun:
    """Raises NotFound; to a key for other families it does not exist."""
    run = context.store.judge_runs.get(tx, id)
    if run is None or not context.sees(run.family):
        raise NotFound(f"There is no judge run {id!r}. See them with: detent judge runs FAMILY.", run=id)
    return run
