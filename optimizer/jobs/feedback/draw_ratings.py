"""Puts judged answers that were drawn at random before a person, who says how good each is."""

from __future__ import annotations

from typing import Annotated

import structlog
from pydantic import Field

from optimizer.core.base.errors import Conflict, DatasetTooSmall, InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.feedback.rating_draws import MOST_DAYS, Draw, draw_interactions, span_of
from optimizer.core.feedback.review_kinds import RATE_ANSWER
from optimizer.core.views.judge import DrawView, draw_view
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.collect_reviews import SETTLED
from optimizer.jobs.feedback.judge_standing import EVER, drawn_answers, figure_of
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import FamilyRequest
from optimizer.ports import Transaction

MOST = 1000  # of a draw: people would not rate more
DAYS = 30.0
log = structlog.get_logger(__name__)


class RatingDrawRequest(FamilyRequest):
    n: Annotated[int, Field(ge=1, le=MOST, description="Answers to draw")] = 50
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, description="How far back judged answers are drawn from")] = DAYS
    dry_run: Annotated[bool, Field(description="Say what would be, and keep nothing")] = False


def draw_ratings(context: Context, request: RatingDrawRequest) -> DrawView:
    """Puts judged answers that are drawn at random before people, each with the probability with which it was drawn.

    Draws ``n`` of the answers that the family's judge scored within ``days`` and that were not drawn before, each
    with the same chance, and opens a review for each with that chance in it; all of them where there are fewer.

    What was drawn among another judge's answers can be drawn again: to leave it out would make other chances.

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
    if not undrawn:
        with store.read() as tx:
            scored_late = store.traffic.judged(tx, family.name, judge, until, EVER[1])
        if n_fresh := sum(each.interaction not in before for each in scored_late):
            raise DatasetTooSmall(
                f"{count(n_fresh, 'answer')} of {family.name} can be drawn in a minute: the judge has scored them just"
                " now, and a draw is among those of which no other can come any more. Repeat the command then.",
                n_rows=0,
                n_required=1,
            )
        drawn_before = f" {count(len(judged), 'answer')}, all of which were drawn before" if judged else " none"
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
