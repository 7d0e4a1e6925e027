"""How far a family's judge can be trusted: draws answers that it scored for people to rate, measures how far both agree
and fits the map from its scores to their ratings, and reads the standing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from pydantic import Field

from optimizer.core.base.errors import Conflict, DatasetTooSmall, InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.core.evaluation.judging.calibration import (
    MIN_RATINGS,
    Calibration,
    independent_ratings,
    judge_identity,
    judge_of,
    why_uncalibrated,
)
from optimizer.core.family.family import Family
from optimizer.core.feedback.rating_draws import (
    MOST_DAYS,
    Draw,
    DrawnAnswer,
    JudgedFigure,
    draw_interactions,
    drawn_of,
    figure_by_sums,
    span_of,
    windows_of,
)
from optimizer.core.feedback.review_kinds import RATE_ANSWER
from optimizer.core.views.judge import (
    CalibrationView,
    DrawView,
    JudgeView,
    calibration_view,
    draw_view,
    judged_figure_view,
)
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.sealed_events import sealed_among
from optimizer.jobs.feedback.collect_reviews import SETTLED
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import DryRunRequest, FamilyRequest
from optimizer.ports import CalibrationRecord, Store, Transaction

EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
MOST = 1000  # of a draw: people would not rate more
DAYS = 30.0
log = structlog.get_logger(__name__)


class RatingDrawRequest(DryRunRequest):
    n: Annotated[int, Field(ge=1, le=MOST, description="Answers to draw")] = 50
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, description="How far back judged answers are drawn from")] = DAYS


def draw_ratings(context: Context, request: RatingDrawRequest) -> DrawView:
    """Puts judged answers that are drawn at random before people, each with the probability with which it was drawn.

    Draws ``n`` of the answers that the family's judge scored within ``days`` and that were not drawn before, each
    with the same chance, and opens a review for each with that chance in it; all of them where there are fewer.

    What was drawn among another judge's answers can be drawn again: to leave it out would make other chances. What the
    sealed holdout asks, too, is not drawn, since nobody would see what it is about.

    Raises:
        InvalidInput: the family has no judge or keeps no texts, or a number out of range.
        DatasetTooSmall: nothing is left to draw.
        Conflict: another draw was made at the same time.
    """
    family, n, days, store, clock = (
        context.family(request.family),
        request.n,
        request.days,
        context.store,
        context.clock,
    )
    span = span_of(days, "drawn")
    judge = judge_identity(family)
    if family.privacy.store == "metadata":
        raise InvalidInput(
            f"Answers of {family.name} cannot be rated: its privacy.store is metadata, so that no text of them is kept."
        )
    until = clock.now() - SETTLED
    since = until - span
    with store.read() as tx:
        judged = store.traffic.judged(tx, family.name, judge, since, until)
        before = {each.interaction for each in drawn_answers(family, judge, store, tx)}
        figure = figure_of(family, judge, store, tx)
        undrawn = [each.interaction for each in judged if each.interaction not in before]
        sealed = sealed_among(tx, store, family, undrawn)
    undrawn = [interaction for interaction in undrawn if interaction not in sealed]
    if not undrawn:
        with store.read() as tx:
            scored_late = {each.interaction for each in store.traffic.judged(tx, family.name, judge, until, EVER[1])}
            fresh = sorted(scored_late - before)
            n_fresh = len(fresh) - len(sealed_among(tx, store, family, fresh))
        if n_fresh:
            raise DatasetTooSmall(
                f"{count(n_fresh, 'answer')} of {family.name} can be drawn in a minute: the judge has scored them just"
                " now, and a draw is among those of which no other can come any more. Repeat the command then.",
                n_rows=0,
                n_required=1,
            )
        or_sealed = " or ask what the sealed holdout asks" if sealed else ""
        drawn_before = (
            f" {count(len(judged), 'answer')}, all of which were drawn before{or_sealed}" if judged else " none"
        )
        raise DatasetTooSmall(
            f"No answers of {family.name} can be drawn: of the last {days:g} days its judge has scored{drawn_before}."
            f" Let it score more (detent judge score {family.name} --n 200), or look further back with --days.",
            n_rows=0,
            n_required=1,
        )
    draw = Draw(id=new_id("dr"), judge=judge, since=since, until=until, frame=len(undrawn), n=min(n, len(undrawn)))
    chosen = draw_interactions(undrawn, draw.n, seed=draw.id)
    if request.dry_run:
        return draw_view(family.name, draw, (), figure)

    def keep(tx: Transaction) -> DrawView:
        if {each.interaction for each in drawn_answers(family, judge, store, tx)} != before:
            raise Conflict(f"Answers of {family.name} were drawn by another command at the same time. Draw again.")
        now, ids = clock.now(), [new_id("rv") for _ in chosen]
        for place, (id, interaction) in enumerate(zip(ids, chosen, strict=True)):
            store.reviews.open(tx, id, family.name, RATE_ANSWER, interaction, draw.payload(place), now)
        detail = {"draw": draw.id, "n": draw.n, "frame": draw.frame, "inclusion": draw.inclusion, "judge": judge}
        store.audit.add(
            tx, at=now, actor=context.actor, action="ratings.draw", family=family.name, subject=draw.id, detail=detail
        )
        return draw_view(family.name, draw, ids, figure)

    draw_report = store.write(keep, rows=len(chosen) + 1)
    log.info("answers drawn for rating", family=family.name, n=draw.n, frame=draw.frame)
    return draw_report


def calibrate_judge(context: Context, request: DryRunRequest) -> CalibrationView:
    """Measures how far the judge agrees with people's ratings, and fits the map from its scores to them.

    It fits on every answer that this judge has scored and a person has rated, and keeps the result beside the earlier
    ones; with `dry_run` it is only returned. Ratings are feedback of source person: drawn answers, answers to other
    reviews of answers, and what applications report as a person's. Answers of one unit are never on both sides of a
    fold.

    Raises:
        InvalidInput: the family has no judge.
        DatasetTooSmall: fewer than ``MIN_RATINGS`` such answers, or all of one unit.
    """
    family, store, clock, actor = context.family(request.family), context.store, context.clock, context.actor
    judge = judge_identity(family)
    with store.read() as tx:
        judged = store.traffic.judged(tx, family.name, judge, *EVER, rated_by="person")
        n_judged, _ = store.traffic.judged_sums(tx, family.name, judge, [EVER])
        ratings = store.traffic.ratings(tx, family.name, [each.interaction for each in judged], "person")
    both = [each for each in judged if each.interaction in ratings]
    if len(both) < MIN_RATINGS:
        raise DatasetTooSmall(
            f"The judge of {family.name} cannot be calibrated: {count(n_judged, 'answer')} have its score, of which"
            f" people have rated {len(both)}, and {MIN_RATINGS} are needed. Draw answers for rating: detent review draw"
            f" {family.name} --n 50.",
            n_rows=len(both),
            n_required=MIN_RATINGS,
        )
    units = [each.unit_hmac or each.interaction for each in both]
    if len(set(units)) < 2:
        raise DatasetTooSmall(
            f"The judge of {family.name} cannot be calibrated: its {len(both)} rated answers are all of one unit, and"
            " its error is measured on other units than it is fitted to. Rate answers to a second one: detent review"
            f" draw {family.name} --n 50.",
            n_rows=1,
            n_required=2,
        )
    scores, rated = [each.score for each in both], [ratings[each.interaction] for each in both]
    fitted = context.fit_judge(scores, rated, units, judge_of(family).passes)
    agreement, now = fitted.agreement, clock.now()
    record = CalibrationRecord(
        id=new_id("jc"),
        family=family.name,
        calibration=Calibration(
            judge=judge,
            method=fitted.method,
            n=len(both),
            spearman=agreement.spearman.value,
            kappa=agreement.kappa.value,
            calibration_error=agreement.calibration_error.value,
            fitted_at=now,
            points=fitted.points,
            scored=(min(scores), max(scores)),
            rated=(min(rated), max(rated)),
            n_independent=independent_ratings(scores, rated, units),
        ),
        agreement=agreement,
        created_by=actor,
    )
    if request.dry_run:
        return calibration_view(record, dry_run=True)

    def keep(tx: Transaction) -> CalibrationView:
        store.calibrations.add(tx, record)
        detail: dict[str, Any] = {"judge": judge, "n": len(both), "method": fitted.method}
        detail |= {"spearman": agreement.spearman.value}
        store.audit.add(
            tx, at=now, actor=actor, action="judge.calibrate", family=family.name, subject=record.id, detail=detail
        )
        return calibration_view(record)

    calibrated = store.write(keep, rows=2)
    log.info("judge calibrated", family=family.name, n=len(both), spearman=agreement.spearman.value)
    return calibrated


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
