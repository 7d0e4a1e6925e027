"""Reads how far a family's judge can be trusted, and what it says of the answers. Writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from optimizer.core.evaluation.judging.calibration import judge_identity, why_uncalibrated
from optimizer.core.family.family import Family
from optimizer.core.feedback.rating_draws import DrawnAnswer, JudgedFigure, drawn_of, figure_by_sums, windows_of
from optimizer.core.feedback.review_kinds import RATE_ANSWER
from optimizer.core.views.judge import JudgeView, calibration_view, judged_figure_view
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest
from optimizer.ports import Store, Transaction

EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class JudgeReadRequest(FamilyRequest):
    variant: Annotated[str | None, Field(max_length=200, description="The figure is of this one's answers")] = None


def read_judge(context: Context, request: JudgeReadRequest) -> JudgeView:
    """The family's judge, whether it may decide by itself, every calibration, and the quality of the answers that it
    scored with its interval.

    Raises InvalidInput where the family has no judge.
    """
    family, store, variant = context.family(request.family), context.store, request.variant
    judge = judge_identity(family)
    with store.read() as tx:
        history = [calibration_view(record) for record in store.calibrations.history(tx, family.name)]
        figure = figure_of(family, judge, store, tx, variant)
    own = next((calibration for calibration in history if calibration.judge == judge), None)
    return JudgeView(
        family=family.name,
        judge=judge,
        uncalibrated=why_uncalibrated(judge, own or next(iter(history), None)),
        calibration=own,
        history=history,
        variant=variant,
        figure=judged_figure_view(figure),
    )


def figure_of(family: Family, judge: str, store: Store, tx: Transaction, variant: str | None = None) -> JudgedFigure:
    """Rests on the drawn answers' reviews alone; no other feedback or review is read."""
    drawn = drawn_answers(family, judge, store, tx)
    judged = store.traffic.judged(tx, family.name, judge, *EVER, among={each.interaction for each in drawn})
    of_variant = [each for each in judged if variant is None or each.variant == variant]
    n, mean = store.traffic.judged_sums(tx, family.name, judge, windows_of(drawn, judge), variant)
    return figure_by_sums(n, mean, of_variant, drawn, judge=judge)


def drawn_answers(family: Family, judge: str, store: Store, tx: Transaction) -> list[DrawnAnswer]:
    """The answers of every draw among those that this judge scored. Another judge's draws do not change its chances."""
    reviews = [review for review in store.reviews.page(tx, family.name, None) if review.kind == RATE_ANSWER]
    answers = [drawn_of(each.subject, each.payload, each.answer) for each in reviews]
    return [each for each in answers if each.draw.judge == judge]
