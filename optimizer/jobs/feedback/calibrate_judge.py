"""Measures how far a family's judge agrees with people, and fits the map from its scores to their ratings."""

from __future__ import annotations

from typing import Any

import structlog

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.base.phrasing import count
from optimizer.core.evaluation.judging.calibration import MIN_RATINGS, Calibration, judge_identity, judge_of
from optimizer.core.views.judge import CalibrationView, calibration_view
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.judge_standing import EVER
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import DryRunRequest
from optimizer.ports import CalibrationRecord, Transaction

log = structlog.get_logger(__name__)


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
