"""Judges of families: how far they agree with people, and the answers that people rate for that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.access.auth import Caller
from api.http.pagination import Limit, page
from api.idempotency import kept
from api.routing import Asking, caller_of, guarded, router
from api.schemas import DryRunBody, JudgeCheckBody, JudgeScoreBody, RatingDrawBody, ReasonBody
from api.services import Shared
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate
from optimizer.jobs.feedback.calibrate_judge import calibrate_judge
from optimizer.jobs.feedback.draw_ratings import DrawReport, draw_ratings
from optimizer.jobs.feedback.judge_standing import judge_standing
from optimizer.jobs.studies.evaluations.create_judge_run import check_biases, score_answers, stop_judge_run
from optimizer.ports import CalibrationRecord
from optimizer.runtime import shapes, wiring
from optimizer.runtime.fit_apart import fit_judge_apart

routes: APIRouter = router("Judges")
DRY = {200: "With dry_run: calls and dollars expected; nothing is spent."}


@routes.get("/v1/families/{family}/judge", **guarded("read"))
def judge(
    family: str,
    shared: Shared,
    variant: Annotated[str | None, Query(max_length=200, description="The figure is of this one's answers")] = None,
) -> dict[str, Any]:
    """The family's judge, whether it may decide by itself, every calibration, and the quality of the answers that it
    scored with its interval.
    """
    return shapes.judge(judge_standing(shared.family(family), store=shared.store, variant=variant))


@routes.post(
    "/v1/families/{family}/judge/calibrations",
    status_code=201,
    **guarded("operate", "limited", also={200: "A dry run: nothing was kept."}),
)
def calibrate(
    family: str, shared: Shared, request: Request, response: Response, body: DryRunBody | None = None
) -> dict[str, Any]:
    """Measures how far the judge agrees with people's ratings, and fits the map from its scores to them."""
    dry_run = body is not None and body.dry_run

    def answer(made: CalibrationRecord) -> dict[str, Any]:
        response.status_code = 200 if dry_run else 201
        return shapes.calibration(made, dry_run=dry_run)

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
def draw(family: str, shared: Shared, request: Request, response: Response, body: RatingDrawBody) -> dict[str, Any]:
    """Puts judged answers that are drawn at random before people, each with the probability with which it was drawn."""

    def answer(made: DrawReport) -> dict[str, Any]:
        response.status_code = 201 if made.reviews else 200
        return shapes.rating_draw(made)

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
def score(family: str, shared: Shared, request: Request, response: Response, body: JudgeScoreBody) -> dict[str, Any]:
    """Queues the scoring of answers that users were given, drawn at random, none twice; 202 with its Location."""
    job = partial(score_answers, shared.family(family), n=body.n, days=body.days)
    return _queue(job, shared, request, response, body)


@routes.post("/v1/families/{family}/judge/checks", status_code=202, **guarded("operate", "limited", also=DRY))
def check(family: str, shared: Shared, request: Request, response: Response, body: JudgeCheckBody) -> dict[str, Any]:
    """Queues a check of the judge's biases; 202 with its Location."""
    job = partial(check_biases, shared.family(family), n=body.n, beside=body.beside)
    return _queue(job, shared, request, response, body)


@routes.get("/v1/families/{family}/judge/runs", **guarded("read"))
def runs(family: str, shared: Shared, limit: Limit = 100) -> dict[str, Any]:
    """What the judge was asked to score or to be checked for, the latest first."""
    shared.family(family)
    found = shared.read(lambda tx: shared.store.judge_runs.latest(tx, family, limit))
    return page([shapes.judge_run(one) for one in found], None)


@routes.get("/v1/judge-runs/{id}", **guarded("read", narrows=True))
def run(id: str, shared: Shared, caller: Asking) -> dict[str, Any]:
    """How far a run is, and at its end what was found."""
    return shapes.judge_run(_require(shared.read(lambda tx: shared.store.judge_runs.get(tx, id)), id, caller))


@routes.post("/v1/judge-runs/{id}/cancel", **guarded("operate", "limited", narrows=True))
def cancel(
    id: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> dict[str, Any]:
    """Stops a run before its next call; what was scored stays. Safe to repeat."""
    _require(shared.read(lambda tx: shared.store.judge_runs.get(tx, id)), id, caller_of(request))
    store = kept(request, shared, response, shapes.judge_run)
    return shapes.judge_run(stop_judge_run(id, actor=request.state.caller.actor, store=store, clock=shared.clock))


def _queue(
    job: Callable[..., JudgeRun | JudgeRunEstimate],
    shared: Shared,
    request: Request,
    response: Response,
    body: JudgeScoreBody | JudgeCheckBody,
) -> dict[str, Any]:
    """``job`` has its family and what is its own to ask."""

    def answer(made: JudgeRun | JudgeRunEstimate) -> dict[str, Any]:
        if isinstance(made, JudgeRun):
            response.status_code = 202
            response.headers["Location"] = f"/v1/judge-runs/{made.id}"
        else:
            response.status_code = 200
        return shapes.asked_of_judge(made)

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
