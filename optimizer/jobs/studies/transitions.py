"""Changes a study's status from outside. Every change of status asks ``next_status`` what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import structlog

from optimizer.core.base.errors import BudgetTooSmall, Conflict
from optimizer.core.base.values import Budget
from optimizer.core.family.family import Family
from optimizer.core.scheduling.monthly_budget import MonthlyLimits, under
from optimizer.core.search.study import ENDED, STOPPED_S, UNFINISHED, Study, StudyStatus, study_view, unknown_study
from optimizer.core.serving.rollout import require_unfrozen
from optimizer.jobs.context import Context
from optimizer.jobs.studies.read_spending import left_this_month, monthly_left
from optimizer.ports import Clock, Store, Transaction

log = structlog.get_logger(__name__)
# A study that was interrupted continues where it was; one that finished is never continued.
NEXT: Mapping[StudyStatus, tuple[StudyStatus, ...]] = {
    "queued": ("running", "confirming", "cancelled", "failed"),
    "running": ("running", "confirming", "finished", "cancelled", "failed"),
    "confirming": ("confirming", "finished", "cancelled", "failed"),
    "cancelled": ("queued",),
    "failed": ("queued",),
    "finished": (),
}


def next_status(study: Study, status: StudyStatus) -> StudyStatus:
    """The status that follows. Raises Conflict where it cannot follow on the one that the study has."""
    if status not in NEXT[study.status]:
        raise Conflict(f"Study {study.id} is {study.status}, and cannot become {status}.", status=study.status)
    return status


def queue_study(
    context: Context, family: Family, study: Study, *, action: str, act: str, detail: Mapping[str, Any]
) -> Study:
    """Queues a new study, for the worker or the caller.

    Raises Conflict where the family is frozen, or has another study or champion by now, BudgetTooSmall where a monthly
    limit leaves less.

    Args:
        act: what a freeze refuses, for its sentence.
        detail: of the audit, beside the budget.
    """
    store = context.store

    def add(tx: Transaction) -> Study:
        require_unfrozen(store.freezes.all(tx), family.name, act)
        champion = store.champions.current(tx, family.name)
        if champion is None or champion.variant != study.champion:
            raise Conflict(
                f"Cannot {act}: {family.name} lost its champion {study.champion} while this was prepared. Nothing was"
                " queued; ask again.",
                family=family.name,
            )
        # Another study may have begun meanwhile.
        under(left_this_month(tx, context, family), study.budget)
        store.studies.add(tx, study)
        store.audit.add(
            tx,
            at=study.created_at,
            actor=study.created_by,
            action=action,
            family=family.name,
            subject=study.id,
            detail={**detail, "budget": asdict(study.budget)},
        )
        return study

    return store.write(add)


def request_stop(study_id: str, *, actor: str, store: Store, clock: Clock, is_left: bool = False) -> Study:
    """Asks a study to stop before its next call. Safe to repeat.

    One that has not begun, or that no process does any more (``is_left``), is cancelled at once.
    """
    now = clock.now()

    def stop(tx: Transaction) -> Study:
        study = store.studies.get(tx, study_id)
        if study is None:
            raise unknown_study(study_id)
        if study.status in ENDED or (study.stop_requested and not is_left):
            return study_view(study)
        store.audit.add(
            tx, at=now, actor=actor, action="study_cancel", family=study.family, subject=study_id, detail={}
        )
        if is_left and study.status != "queued":
            return study_view(_ended(tx, store, study, "cancelled", now))
        if study.status == "queued":
            return study_view(
                store.studies.update(
                    tx, study_id, stop_requested=True, status=next_status(study, "cancelled"), finished_at=now
                )
            )
        return study_view(store.studies.update(tx, study_id, stop_requested=True))

    return store.write(stop)


def resume_study(
    study_id: str, *, actor: str, store: Store, clock: Clock, limits: MonthlyLimits | None = None
) -> Study:
    """The study, queued or already on its way.

    Raises:
        NotFound: no such study.
        Conflict: it finished, the family has another study on its way or another champion by now, or is frozen.
        BudgetTooSmall: what its cap still allows would pass a monthly limit.
    """

    def change(tx: Transaction) -> Study:
        study = store.studies.get(tx, study_id)
        if study is None:
            raise unknown_study(study_id)
        if study.status == "finished":
            raise Conflict(
                f"Study {study_id} has finished ({study.outcome}), so there is nothing to resume. "
                f"Search again: detent study run {study.family} --dry-run.",
                study=study_id,
            )
        if study.status in UNFINISHED:
            return study_view(store.studies.update(tx, study_id, stop_requested=False))
        require_unfrozen(store.freezes.all(tx), study.family, f"resume study {study_id}")
        other = next((s for s in store.studies.unfinished(tx) if s.family == study.family), None)
        if other is not None:
            raise Conflict(
                f"Cannot resume study {study_id}: {study.family} has study {other.id} ({other.status}). "
                f"Wait for it, or stop it: detent study cancel {other.id}.",
                study=other.id,
            )
        champion = store.champions.current(tx, study.family)
        if champion is not None and champion.variant != study.champion:
            raise Conflict(
                f"Cannot resume study {study_id}: it compares with {study.champion}, and {champion.variant} is the"
                f" champion of {study.family} now. Search again: detent study run {study.family} --dry-run; or name a"
                f" variant that it has measured: detent study nominate {study_id} VARIANT --dry-run.",
                champion=champion.variant,
            )
        _require_left(tx, store, clock, study, limits or MonthlyLimits())
        at, findings = clock.now(), study.findings or {}
        if study.started_at is not None and study.finished_at is not None:
            stopped_s = (at - study.finished_at).total_seconds()
            findings = {**findings, STOPPED_S: findings.get(STOPPED_S, 0.0) + stopped_s}
        store.audit.add(
            tx,
            at=at,
            actor=actor,
            action="study.resume",
            family=study.family,
            subject=study_id,
            detail={"was": study.status},
        )
        store.outbox.add(tx, "study", study_id, {}, at)
        return study_view(
            store.studies.update(
                tx,
                study_id,
                status=next_status(study, "queued"),
                stop_requested=False,
                error=None,
                finished_at=None,
                findings=findings or None,
            )
        )

    return store.write(change)


def _require_left(tx: Transaction, store: Store, clock: Clock, study: Study, limits: MonthlyLimits) -> None:
    """A study that goes on may spend what its cap still allows; without a cap a monthly limit could not be kept."""
    remaining = monthly_left(tx, store, clock, study.family, limits)
    if remaining.usd is None:
        return
    cap = study.budget.usd
    if cap is None:
        raise BudgetTooSmall(
            f"Cannot resume study {study.id}: it has no cap in dollars, and a monthly limit is set ({remaining.text})."
            f" Search again: detent study run {study.family} (what was asked at temperature 0 is answered from the"
            " journal)."
        )
    under(remaining, Budget(usd=max(0.0, cap - study.spend.usd)))


def fail_study(store: Store, clock: Clock, study_id: str, reason: str) -> Study:
    """Ends a study that cannot go on, so that no worker continues it; one that has ended stays as it is."""
    now = clock.now()

    def fail(tx: Transaction) -> Study:
        record = store.studies.get(tx, study_id)
        if record is not None and record.status in ENDED:
            return record
        if record is None:
            raise unknown_study(study_id)
        return _ended(tx, store, record, "failed", now, error=reason)

    log.error("study_failed", study=study_id, reason=reason)
    return store.write(fail)


def _ended(
    tx: Transaction, store: Store, study: Study, status: StudyStatus, now: datetime, *, error: str | None = None
) -> Study:
    """The study at an end that no run of it writes: what it spent is the journal's, and MLflow is told."""
    store.outbox.add(tx, "study", study.id, {}, now)
    of_run = {name: getattr(study.spend, name) for name in ("search_cut", "remark", "n_from_journal")}
    spend = replace(store.journal.spend(tx, study.id), **of_run)  # the journal knows only calls and dollars
    return store.studies.update(
        tx,
        study.id,
        status=next_status(study, status),
        finished_at=now,
        spend=spend,
        stop_requested=study.stop_requested or status == "cancelled",
        error=error,
    )
