"""Queues a study again that was cancelled, failed or interrupted; its journal answers whatever was asked before."""

from __future__ import annotations

from optimizer.core.errors import Conflict, NotFound
from optimizer.core.study import Study
from optimizer.ports import Clock, Store, Transaction

RESUMABLE = ("cancelled", "failed")


def resume_study(study_id: str, *, actor: str, store: Store, clock: Clock) -> Study:
    """The study, queued or already on its way.

    Raises:
        NotFound: no such study.
        Conflict: it finished, or the family has another study on its way.
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
        if study.status not in RESUMABLE:
            return store.studies.update(tx, study_id, stop_requested=False)
        for status in ("queued", "running", "confirming"):
            others, _ = store.studies.page(tx, family=study.family, status=status)
            if others:
                raise Conflict(
                    f"Cannot resume study {study_id}: {study.family} has study {others[0].id} ({others[0].status}). "
                    f"Wait for it, or stop it: detent study cancel {others[0].id}.",
                    study=others[0].id,
                )
        at = clock.now()
        store.audit.add(tx, at=at, actor=actor, action="study.resume", family=study.family, subject=study_id, detail={"was": study.status})
        store.outbox.add(tx, "study", study_id, {}, at)
        return store.studies.update(tx, study_id, status="queued", stop_requested=False, error=None, finished_at=None)

    return store.write(change)
