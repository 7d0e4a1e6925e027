"""Judges of families: how far they agree with people, and the answers that people rate for that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.access.auth import Caller
from api.http.pagination import Limit
from api.idempotency import kept
from api.routing import Asking, caller_of, guarded, router
from api.schemas import DryRunBody, JudgeCheckBody, JudgeScoreBody, RatingDrawBody, ReasonBody
from api.services import Shared
from optimizer.core.base.answers import Page
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate
from optimizer.core.views.judge import CalibrationView, DrawView, JudgeRunView, JudgeView, judge_run_view
from optimizer.jobs.feedback.calibrate_judge import calibrate_judge
from optimizer.jobs.feedback.draw_ratings import draw_ratings
from optimizer.jobs.feedback.judge_standing import judge_standing
from optimizer.jobs.studies.evaluations.create_judge_run import check_biases, score_answers, stop_judge_run
from optimizer.runtime import wiring
from optimizer.runtime.fit_apart import fit_judge_apart

routes: APIRouter = router("Judges")
Asked = JudgeRunView | JudgeRunEstimate
DRY = {200: "With dry_run: calls and dollars expected; nothing is spent."}


@routes.get("/v1/families/{family}/judge", **guarded("read"))
def judge(
    family: str,
    shared: Shared,
    variant: Annotated[str | None, Query(max_length=200, description="The figure is of this one's answers")] = None,
) -> JudgeView:
    """The family's judge, whether it may decide by itself, every calibration, and the quality of the answers that it
    scored with its interval.
    """
    return judge_standing(shared.family(family), store=shared.store, variant=variant)


@routes.post(
    "/v1/families/{family}/judge/calibrations",
    status_code=201,
    **guarded("operate", "limited", also={200: "A dry run: nothing was kept."}),
)
def calibrate(
    family: str, shared: Shared, request: Request, response: Response, body: DryRunBody | None = None
) -> CalibrationView:
    """Measures how far the judge agrees with people's ratings, and fits the map from its scores to them."""
    dry_run = body is not None and body.dry_run

    def answer(made: CalibrationView) -> CalibrationView:
        response.status_code = 200 if made.dry_run else 201
        return made

    made = calibrate_judge(
        shared.family(family),
        actor=request.state.caller.actor,
        store=kept(request, shared, response, answer),
        clock=shared.clock,
        fit=fit_judge_apart,
        dry_run=dry_run,
    )
    return answer(made)


@routes.post(
    "/v1/families/{family}/rating-draws",
    status_code=201,
    **guarded("operate", "limited", also={200: "A dry run: nothing was drawn."}),
)
def draw(family: str, shared: Shared, request: Request, response: Response, body: RatingDrawBody) -> DrawView:
    """Puts judged answers that are drawn at random before people, each with the probability with which it was drawn."""

    def answer(made: DrawView) -> DrawView:
        response.status_code = 200 if made.dry_run else 201
        return made

    made = draw_ratings(
        shared.family(family),
        body.n,
        days=body.days,
        dry_run=body.dry_run,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, answer),
        clock=shared.clock,
    )
    return answer(made)


@routes.post("/v1/families/{family}/judge/scores", status_code=202, **guarded("operate", "limited", also=DRY))
def score(family: str, shared: Shared, request: Request, response: Response, body: JudgeScoreBody) -> Asked:
    """Queues the scoring of answers that users were given, drawn at random, none twice; 202 with its Location."""
    job = partial(score_answers, shared.family(family), n=body.n, days=body.days)
    return _queue(job, shared, request, response, body)


@routes.post("/v1/families/{family}/judge/checks", status_code=202, **guarded("operate", "limited", also=DRY))
def check(family: str, shared: Shared, request: Request, response: Response, body: JudgeCheckBody) -> Asked:
    """Queues a check of the judge's biases; 202 with its Location."""
    job = partial(check_biases, shared.family(family), n=body.n, beside=body.beside)
    return _queue(job, shared, request, response, body)


@routes.get("/v1/families/{family}/judge/runs", **guarded("read"))
def runs(family: str, shared: Shared, limit: Limit = 100) -> Page[JudgeRunView]:
    """What the judge was asked to score or to be checked for, the latest first."""
    shared.family(family)
    found = shared.read(lambda tx: shared.store.judge_runs.latest(tx, family, limit))
    return Page(items=[judge_run_view(one) for one in found])


@routes.get("/v1/judge-runs/{id}", **guarded("read", narrows=True))
def run(id: str, shared: Shared, caller: Asking) -> JudgeRunView:
    """How far a run is, and at its end what was found."""
    return judge_run_view(_require(shared.read(lambda tx: shared.store.judge_runs.get(tx, id)), id, caller))


@routes.post("/v1/judge-runs/{id}/cancel", **guarded("operate", "limited", narrows=True))
def cancel(
    id: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> JudgeRunView:
    """Stops a run before its next call; what was scored stays. Safe to repeat."""
    _require(shared.read(lambda tx: shared.store.judge_runs.get(tx, id)), id, caller_of(request))
    store = kept(request, shared, response, judge_run_view)
    return judge_run_view(stop_judge_run(id, actor=request.state.caller.actor, store=store, clock=shared.clock))


def _queue(
    job: Callable[..., JudgeRun | JudgeRunEstimate],
    shared: Shared,
    request: Request,
    response: Response,
    body: JudgeScoreBody | JudgeCheckBody,
) -> Asked:
    """``job`` has its family and what is its own to ask."""

    def answer(made: JudgeRun | JudgeRunEstimate) -> Asked:
        if isinstance(made, JudgeRunEstimate):
            response.status_code = 200
            return made
        response.status_code = 202
        response.headers["Location"] = f"/v1/judge-runs/{made.id}"
        return judge_run_view(made)

    made = job(
        budget=Budget(**body.budget.model_dump()),
        dry_run=body.dry_run,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, answer),
        clock=shared.clock,
        models=wiring.open_models(shared.settings),
        usd_per_month=shared.settings.usd_per_month,
    )
    return answer(made)


def _require(found: JudgeRun | None, id: str, caller: Caller) -> JudgeRun:
    """To a key for other families it does not exist."""
    if found is None or not caller.access.may_see(found.family):
        raise NotFound(f"There is no judge run {id!r}. See them with: detent judge runs FAMILY.", run=id)
    return found
