"""Reads a study's front: what its points cost, and who answers which share in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from optimizer.core.base.values import ExampleResult
from optimizer.core.search.study import Study, Trial
from optimizer.core.views.study_front import TRAFFIC_DAYS, StudyFront, front_of
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
        trials, results = store.studies.trials(tx, study.id), store.studies.results(tx, study.id, "search")
        return front_of_study(study, trials, results, store=store, clock=context.clock, tx=tx)


def front_of_study(
    study: Study,
    trials: Sequence[Trial],
    results: Mapping[str, Sequence[ExampleResult]],
    *,
    store: Store,
    clock: Clock,
    tx: Transaction,
) -> StudyFront:
    """``results``: of the search, by variant."""
    records = [store.variants.get(tx, study.family, trial.variant) for trial in trials]
    since = clock.now() - timedelta(days=TRAFFIC_DAYS)
    requests = store.minute_stats.of_family(tx, study.family, since, source="")
    return front_of(
        study,
        trials,
        results,
        {record.variant.id: record.variant for record in records if record is not None},
        requests_per_month=sum(row.n for row in requests),
    )
