"""Reads a study's front: what its points cost, and who answers which share in each; and of the tier answers that it
recorded the curves of its cascade's thresholds and the price of its audits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.search.cascade.figures import AuditCost, CascadeCurves
from optimizer.core.search.study import OUT_OF_FOLD, UNPRICED, Study, Trial, ranked
from optimizer.core.views.study_front import TRAFFIC_DAYS, StudyFront, front_of, mark_of, on_front, unpriced_of
from optimizer.core.views.study_headline import headline
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
        return front_of_study(study, store.studies.trial_figures(tx, study.id), store=store, clock=context.clock, tx=tx)


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
    shown = on_front(trials, unpriced)
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
    outcome = headline(study, trials) if study.status == "finished" else None
    return replace(front, searched_by=searched.study if searched is not None else None, outcome=outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCostReport:
    study: str
    audit_cost: AuditCost | None


def read_audit_cost(context: Context, request: ItemRequest) -> AuditCostReport:
    """What a nominated cascade's audits will cost once it serves; null for anything else that won, or nothing.

    It is read by a process of its own, one at a time.
    """
    study, store, curves = stored_study(context, request.id), context.store, None
    if study.winner is not None:
        family = context.families().families.get(study.family)
        with store.read() as tx:
            curves = curves_of_study(study, store.studies.trials(tx, study.id), family=family, store=store, tx=tx)
    cost = curves.audit_cost if curves is not None and curves.variant == study.winner else None
    return AuditCostReport(study=study.id, audit_cost=cost)


def curves_of_study(
    study: Study, trials: Sequence[Trial], *, family: Family | None, store: Store, tx: Transaction
) -> CascadeCurves | None:
    """The curves of the winner, else of the best candidate with a cascade, else of the champion.

    None for a study that asked no tiers.

    Args:
        family: the study's, for its margin; None: the margin follows from the quality.
    """
    from optimizer.core.search.cascade.advice import cascade_curves  # these need numpy
    from optimizer.core.search.cascade.learned import RECORDED

    answers = store.studies.tier_answers(tx, study.id)
    if answers is None:
        return None
    candidates = [trial.variant for trial in ranked(trials) if trial.variant != study.champion]
    best = [id for id in (study.winner, *candidates, study.champion) if id is not None]
    records = (store.variants.get(tx, study.family, id) for id in best)
    variant = next(
        (record.variant for record in records if record is not None and record.variant.policy.get("tiers")), None
    )
    margin = family.rollout.margin if family is not None else None
    learned, recorded = ((study.findings or {}).get(name) for name in (OUT_OF_FOLD, RECORDED))
    return cascade_curves(
        answers.rows,
        answers.tiers,
        variant=variant,
        explicit_margin=margin,
        champion=study.champion,
        learned=learned,
        recorded=recorded,
    )
