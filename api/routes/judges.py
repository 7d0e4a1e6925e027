"""Judges of families: how far they agree with people, and the answers that people rate for that."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import DryRunBody, RatingDrawBody
from api.services import Shared
from optimizer.jobs.feedback.calibrate_judge import calibrate_judge
from optimizer.jobs.feedback.draw_ratings import DrawReport, draw_ratings
from optimizer.jobs.feedback.judge_standing import judge_standing
from optimizer.ports import CalibrationRecord
from optimizer.runtime import shapes
from optimizer.runtime.fit_apart import fit_judge_apart

routes: APIRouter = router("Judges")


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
