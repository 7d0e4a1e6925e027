"""Reads from a study's recorded tier answers the curves of its cascade's thresholds and the price of its audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.family.family import Family
from optimizer.core.search.cascade.figures import AuditCost, CascadeCurves
from optimizer.core.search.study import OUT_OF_FOLD, Study, Trial, ranked
from optimizer.jobs.context import Context
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.studies.read_studies import stored_study
from optimizer.ports import Store, Transaction


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
