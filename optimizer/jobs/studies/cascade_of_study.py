"""What a study's recorded tier answers tell of the cascade that it found:
its thresholds' curves and the price of its audits.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.family.family import Family
from optimizer.core.search.cascade.curves import CascadeCurves, cascade_curves
from optimizer.core.search.cascade.learned import RECORDED
from optimizer.core.search.study import OUT_OF_FOLD, Study, Trial, ranked
from optimizer.ports import Store, Transaction


def curves_of_study(
    study: Study, trials: Sequence[Trial], *, family: Family | None, store: Store, tx: Transaction
) -> CascadeCurves | None:
    """Of the winner, else of the best candidate that has a cascade, else of the champion;
    None for a study that asked no tiers.

    Args:
        family: the study's, for its margin; None: the margin follows from the quality.
    """
    answers = store.studies.tier_answers(tx, study.id)
    if answers is None:
        return None
    candidates = [trial.variant for trial in ranked(trials) if trial.variant != study.champion]
    best = [id for id in (study.winner, *candidates, study.champion) if id is not None]
    records = (store.variants.get(tx, study.family, id) for id in best)
    found = next(
        (record.variant for record in records if record is not None and record.variant.policy.get("tiers")), None
    )
    margin = family.rollout.margin if family is not None else None
    learned, recorded = ((study.findings or {}).get(name) for name in (OUT_OF_FOLD, RECORDED))
    return cascade_curves(
        answers.rows,
        answers.tiers,
        variant=found,
        explicit_margin=margin,
        champion=study.champion,
        learned=learned,
        recorded=recorded,
    )
