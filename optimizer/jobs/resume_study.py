"""Queues a study again that was cancelled, failed or interrupted; its journal answers whatever was asked before."""

from __future__ import annotations

from optimizer.core.errors import Conflict, NotFound
from optimizer.core.freezes import require_unfrozen
from optimizer.core.study import UNFINISHED, Study
from optimizer.ports import Clock, Store, Transaction


def resume_study(study_id: str, *, actor: str, store: Store, clock: Clock) -> Study:
    """The study, queued or already on its way.

    Raises:
        NotFound: no such study.
        Conflict: it finished, the family has another study on its way, or is frozen.
    """

    def change(tx: Transaction) -> Study:
        study = store.studies.get(tx, study_id)
        if study is None:
            raise NotFound(f"There is no study {study_id!r}. See them with: detent study list.", study=study_id)
        if study.status == "finished":
            raise Conflict(
                f"Study {study_id} has finished ({study.outcome}), so there is nothing to resume. "
                f"Search again: detent study run {study.family} --dry-run.",
                study=study_id,
            )
        if study.status in UNFINISHED:
            return store.studies.update(tx, study_id, stop_requested=False)
        require_unfrozen(store.freezes.all(tx), study.family, f"resume study {study_id}")
        other = next((s for s in store.studies.unfinished(tx) if s.family == study.family), None)
        if other is not None:
            raise Conflict(
                f"Cannot resume study {study_id}: {study.family} has study {other.id} ({other.status}). "
                f"Wait for it, or stop it: detent study cancel {other.id}.",
                study=other.id,
            )
        at = clock.now()
        store.audit.add(tx, at=at, actor=actor, action="study.resume", family=study.family, subject=study_id, detail={"was": study.status})
        store.outbox.add(tx, "study", study_id, {}, at)
        return store.studies.update(tx, study_id, status="queued", stop_requested=False, error=None, finished_at=None)

    return store.write(change)
