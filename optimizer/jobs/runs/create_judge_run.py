"""Queues a run of a family's judge: to score users' answers, or to be checked for biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page
from optimizer.core.evaluation.judging.calibration import judge_identity, judge_of
from optimizer.core.evaluation.judging.run import JudgeRequest, JudgeRun, JudgeRunEstimate
from optimizer.core.family.family import Family
from optimizer.core.feedback.rating_draws import MOST_DAYS
from optimizer.core.models.budget import require_bounded
from optimizer.core.views.judge import JudgeRunView, judge_run_view
from optimizer.jobs.context import Context
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.feedback.judge_traffic import estimate_judging, latest_answers
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import DryRunRequest, FamilyRequest, ItemActRequest, ItemRequest, Name
from optimizer.jobs.runs.check_judge import estimate_check
from optimizer.jobs.runs.queue_run import RunBudgetBody, budget_of_run, queue_run, read_run, stop_run
from optimizer.jobs.studies.plan_evaluation import calls_at_most

MOST_SCORED = 10_000


class JudgeScoreRequest(DryRunRequest):
    n: Annotated[int, Field(ge=1, le=MOST_SCORED, description="Answers at most")] = 50
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, description="Of so many days back")] = 30.0
    budget: Annotated[RunBudgetBody, Field(description="Default: the calls_at_most of a dry run")] = RunBudgetBody()


class JudgeCheckRequest(DryRunRequest):
    n: Annotated[int, Field(ge=1, description="Dev examples at most; fewer than 20 tell nothing")] = 40
    beside: Annotated[Name | None, Field(description="A model that judges the judge's own answers, too")] = None
    budget: Annotated[RunBudgetBody, Field(description="Default: the calls_at_most of a dry run")] = RunBudgetBody()


class JudgeRunsRequest(FamilyRequest):
    limit: Annotated[int, Field(ge=1, le=1000, description="How many items a page has at most")] = 100


def read_judge_runs(context: Context, request: JudgeRunsRequest) -> Page[JudgeRunView]:
    """What the judge was asked to score or to be checked for, the latest first."""
    context.family(request.family)
    with context.store.read() as tx:
        runs = context.store.runs.latest_of_judge(tx, request.family, request.limit)
    return Page(items=[judge_run_view(one) for one in runs])


def read_judge_run(context: Context, request: ItemRequest) -> JudgeRunView:
    """How far a run is, and at its end what was found."""
    return judge_run_view(read_run(context, request.id, JudgeRun))


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
    members = judge_of(family).members
    estimate = JudgeRunEstimate(
        family=family.name,
        kind="score",
        members=members,
        n=len(left.ids),
        calls=calls,
        usd=usd,
        calls_at_most=calls_at_most(calls),
        why_none=left.why_none,
    )
    return _queue(context, family, estimate, {"interactions": left.ids}, request, n=len(left.ids), models=members)


def check_biases(context: Context, request: JudgeCheckRequest) -> JudgeRunView | JudgeRunEstimate:
    """Queues a check of the judge's biases; 202 with its Location.

    Raises as ``check_judge`` does, and as ``score_answers``.
    """
    family, models = context.family(request.family), context.models()
    check = estimate_check(family, n=request.n, beside=request.beside, store=context.store, models=models)
    query: JudgeRequest = {"n": request.n, "beside": request.beside}
    return _queue(context, family, check.run, query, request, n=check.n_questions, models=check.models)


def _queue(
    context: Context,
    family: Family,
    estimate: JudgeRunEstimate,
    query: JudgeRequest,
    request: JudgeScoreRequest | JudgeCheckRequest,
    *,
    n: int,
    models: Sequence[str],
) -> JudgeRunView | JudgeRunEstimate:
    """``n``: answers, or questions to the judge at most. ``models``: that are asked, the members among them."""
    budget = budget_of_run(context, family, request.budget, estimate.calls, estimate.usd)
    catalogue, judge = context.models(), judge_of(family)
    for name in models:
        require_bounded(name, catalogue.price(name), judge.max_tokens, budget)
    if request.dry_run:
        return estimate
    run = JudgeRun(
        id=new_id("jr"),
        family=family.name,
        kind=estimate.kind,
        judge=judge_identity(family),
        request={**query, "is_priced": estimate.usd is not None, "why_none": estimate.why_none},
        budget=budget,
        status="queued",
        n=n,
        created_by=context.actor,
        created_at=context.clock.now(),
    )
    detail = {"n": estimate.n, "judge": run.judge}
    return context.store.write(
        lambda tx: judge_run_view(queue_run(context, tx, family, run, action=f"judge.{run.kind}", detail=detail)),
        rows=2,
    )


def stop_judge_run(context: Context, request: ItemActRequest) -> JudgeRunView:
    """Stops a run before its next call; what was scored stays. Safe to repeat.

    One that has not begun, or that no worker does any more, is cancelled at once.
    """
    return stop_run(context, request.id, JudgeRun, view=judge_run_view, action="judge.stop")
