"""Nominates a Variant of a study as the candidate of a rollout; today only what the study itself has confirmed."""

from __future__ import annotations

from optimizer.core.errors import Conflict, GateNotMet, NotFound, NotYet
from optimizer.core.study import UNFINISHED, Aim, Study
from optimizer.ports import Store


def nominate(study_id: str, *, variant: str, aim: Aim, store: Store) -> Study:
    """The study with ``variant`` as its nomination; safe to repeat.

    Raises:
        NotFound: no such study, or the variant is none of its trials.
        Conflict: the study has not ended.
        GateNotMet: the variant was confirmed on the holdout and a gate is not met.
        NotYet: any other point, which needs a look at the holdout of its own.
    """
    with store.read() as tx:
        study = store.studies.get(tx, study_id)
        trials = store.studies.trials(tx, study_id) if study else []
    if study is None:
        raise NotFound(f"There is no study {study_id!r}; `detent study list` shows those that exist.")
    if study.status in UNFINISHED:
        raise Conflict(f"Study {study_id} is {study.status}; what it nominates is decided when it ends.", status=study.status)
    if variant not in {t.variant for t in trials}:
        raise NotFound(f"{variant} is no trial of study {study_id}; `detent study show {study_id}` lists its trials.")
    if variant != study.winner or aim != study.aim or not study.confirmation:
        raise NotYet(
            f"Only the winner that study {study_id} confirmed ({study.winner or 'none'}, aim {study.aim}) can be nominated today; nominating another "
            f"point comes later. To try {variant} on users anyway: detent rollout start {study.family} {variant} --confirm {study.family} (recorded as forced)."
        )
    if study.outcome != "nominated":
        failed = [g["name"] for g in study.confirmation.get("gates", []) if g["verdict"] != "pass"]
        raise GateNotMet(
            f"{variant} was confirmed on the holdout and did not pass: {', '.join(failed)}. A person may start it as forced: "
            f"detent rollout start {study.family} {variant} --confirm {study.family}.",
            gates=failed,
        )
    return study
