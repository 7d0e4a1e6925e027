"""Queues a study again that was cancelled, failed or interrupted; its journal answers whatever was asked before."""

from __future__ import annotations

from optimizer.core.base.errors import BudgetTooSmall, Conflict
from optimizer.core.base.values import Budget
from optimizer.core.scheduling.monthly_budget import MonthlyLimits, under
from optimizer.core.search.study import UNFINISHED, Study, study_view, unknown_study
from optimizer.core.serving.freezes import require_unfrozen
from optimizer.jobs.studies.read_spending import monthly_left
from optimizer.ports import Clock, Store, Transaction


def resume_study(
    study_id: str, *, actor: str, store: Store, clock: Clock, limits: MonthlyLimits | None = None
) -> Study:
    """The study, queued or already on its way.

    Raises:
        NotFound: no such study.
        Conflict: it finished, the family has another study on its way, or is frozen.
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
        _require_left(tx, store, clock, study, limits or MonthlyLimits())
        at = clock.now()
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
            store.studies.update(tx, study_id, status="queued", stop_requested=False, error=None, finished_at=None)
        )

    return store.write(change)


def _require_left(tx: Transaction, store: Store, clock: Clock, study: Study, limits: MonthlyLimits) -> None:
    """A study that goes on may spend what its cap still allows; without a cap a monthly limit could not be kept."""
    left = monthly_left(tx, store, clock, study.family, limits)
    if left.usd is None:
        return
    cap = study.budget.usd
    if cap is None:
        raise BudgetTooSmall(
            f"Cannot resume study {study.id}: it has no cap in dollars, and a monthly limit is set ({left.text})."
            f" Search again: detent study run {study.family} (what was asked at temperature 0 is answered from the"
            " journal)."
        )
    under(left, Budget(usd=max(0.0, cap - study.spend.usd)))
