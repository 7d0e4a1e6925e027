"""Reads a study's front: what its points cost, and who answers which share in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from optimizer.core.family.variant import Variant
from optimizer.core.search.study import UNPRICED, Study, Trial
from optimizer.core.views.study_front import TRAFFIC_DAYS, StudyFront, front_of, mark_of, numbers_shown, unpriced_of
from optimizer.jobs.context import Context
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.studies.read_studies import stored_study
from optimizer.ports import Clock, Store, Transaction


def read_front(context: Context, request: ItemRequest) -> StudyFront:
    """The trials that none beats in score, dollars and p95 together, and the champion's, on dev.

    Of each: which tier answers which share, how right it is there, and dollars a month at the requests recorded in the
    last 30 days.
    """
    study = stored_study(context, request.id)
    store = context.store
    with store.read() as tx:
        trials = store.studies.trial_figures(tx, study.id)
        return front_of_study(study, trials, store=store, clock=context.clock, tx=tx)


def front_of_study(
    study: Study,
    trials: Sequence[Trial],
    *,
    store: Store,
    clock: Clock,
    tx: Transaction,
) -> StudyFront:
    """Reads results of the trials that are shown alone, of thousands; variants of all only where some of the models had
    no known price, since a trial with one of these is not free and beats nobody.
    """

    def read(ids: Iterable[str]) -> dict[str, Variant]:
        records = [store.variants.get(tx, study.family, id) for id in sorted(ids)]
        return {record.variant.id: record.variant for record in records if record is not None}

    has_unpriced = UNPRICED in (study.findings or {})
    unpriced = unpriced_of(study, read({trial.variant for trial in trials})) if has_unpriced else set[str]()
    shown = numbers_shown(trials, unpriced)
    ids = {trial.variant for trial in trials if trial.number in shown or mark_of(study, trial)}
    now = clock.now()
    requests = store.minute_stats.within(tx, study.family, now - timedelta(days=TRAFFIC_DAYS), now, source="")
    winner = study.winner if study.mode == "confirm" else None
    searched = None
    if winner is not None:  # later searches measure it too, once it is the champion
        searched = store.studies.last_measured(tx, study.family, winner, before=study.created_at)
    front = front_of(
        study,
        trials,
        {id: store.studies.results(tx, study.id, "search", id).get(id, []) for id in ids},
        read(ids),
        requests_per_month=sum(row.n for row in requests),
        front=shown,
        unpriced=unpriced,
    )
    return replace(front, searched_by=searched.study if searched is not None else None)
