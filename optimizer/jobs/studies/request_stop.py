"""Asks a study to stop."""

from __future__ import annotations

from optimizer.core.search.study import ENDED, Study, study_view, unknown_study
from optimizer.ports import Clock, Store, Transaction


def request_stop(study_id: str, *, actor: str, store: Store, clock: Clock) -> Study:
    """Asks a study to stop before its next call; one that no worker has taken up yet is cancelled at once.

    Safe to repeat.
    """
    now = clock.now()

    def stop(tx: Transaction) -> Study:
        study = store.studies.get(tx, study_id)
        if study is None:
            raise unknown_study(study_id)
        if study.status in ENDED:
            return study_view(study)
        store.audit.add(
            tx, at=now, actor=actor, action="study_cancel", family=study.family, subject=study_id, detail={}
        )
        if study.status == "queued":
            return study_view(
                store.studies.update(tx, study_id, stop_requested=True, status="cancelled", finished_at=now)
            )
        return study_view(store.studies.update(tx, study_id, stop_requested=True))

    return store.write(stop)
