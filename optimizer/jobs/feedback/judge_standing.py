"""How far a family's judge can be trusted, and what it says of the answers: reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from optimizer.core.evaluation.judging.calibration import why_uncalibrated
from optimizer.core.evaluation.judging.identity import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.feedback.rating_draws import DrawnAnswer, JudgedFigure, drawn_of, figure_by_sums, windows_of
from optimizer.jobs.feedback.rate_answer import KIND
from optimizer.ports import CalibrationRecord, Store, Transaction

EVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeStanding:
    """``uncalibrated``: why the judge's score may not decide by itself; None where it may.

    ``history``: the latest first, those of earlier judges too. ``figure``: of the answers that this judge scored.
    """

    family: str
    judge: str
    uncalibrated: str | None
    history: tuple[CalibrationRecord, ...]
    figure: JudgedFigure
    variant: str | None = None

    @property
    def calibration(self) -> CalibrationRecord | None:
        """Of this very judge."""
        return next((record for record in self.history if record.calibration.judge == self.judge), None)


def judge_standing(family: Family, *, store: Store, variant: str | None = None) -> JudgeStanding:
    """``variant``: the figure is of this one's answers. Raises InvalidInput where the family has no judge."""
    judge = judge_identity(family)
    with store.read() as tx:
        history = store.calibrations.history(tx, family.name)
        figure = figure_of(family, judge, store, tx, variant)
    found = [record.calibration for record in history]
    own = next((one for one in found if one.judge == judge), None)
    return JudgeStanding(
        family=family.name,
        judge=judge,
        uncalibrated=why_uncalibrated(judge, own or next(iter(found), None)),
        history=tuple(history),
        figure=figure,
        variant=variant,
    )


def figure_of(family: Family, judge: str, store: Store, tx: Transaction, variant: str | None = None) -> JudgedFigure:
    """Rests on the drawn answers' reviews alone; no other feedback or review is read."""
    drawn = drawn_answers(family, judge, store, tx)
    judged = store.traffic.judged(tx, family.name, judge, *EVER, among={each.interaction for each in drawn})
    asked = [each for each in judged if variant is None or each.variant == variant]
    n, mean = store.traffic.judged_sums(tx, family.name, judge, windows_of(drawn, judge), variant)
    return figure_by_sums(n, mean, asked, drawn, judge=judge)


def drawn_answers(family: Family, judge: str, store: Store, tx: Transaction) -> list[DrawnAnswer]:
    """Of every draw among the answers that this judge scored. Another judge's draws are no part of its chances."""
    reviews = [review for review in store.reviews.page(tx, family.name, None) if review.kind == KIND]
    found = [drawn_of(each.subject, each.payload, each.answer) for each in reviews]
    return [each for each in found if each.draw.judge == judge]
