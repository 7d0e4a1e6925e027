"""Reads a whole study for its report: trials, dev results, what it spent, and the texts that may be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from optimizer.core.evaluation.judging.report import judged_scores
from optimizer.core.family.family import Family, mask_of
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.search.study import JUDGED_BY, Study
from optimizer.core.views.study_front import unpriced_of
from optimizer.core.views.study_story import StudyReport, StudyStory, history_of
from optimizer.jobs.context import Context
from optimizer.jobs.families.vouch_for_judge import calibration_of_judge
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.studies.kinds.kind import study_kind
from optimizer.jobs.studies.read_front import curves_of_study, front_of_study
from optimizer.jobs.studies.read_studies import stored_study
from optimizer.ports import Clock, Store, Transaction

HIDDEN = "(text not shown)"
Mask = Callable[[Any], Any]


def read_study_report(context: Context, request: ItemRequest) -> StudyReport:
    """A study told for its page: what was tried, what won, why, and at what cost.

    It is read by a process of its own, one at a time.
    """
    study = stored_study(context, request.id)
    family = context.families().families.get(study.family)
    return report_study(study, family=family, store=context.store, clock=context.clock)


def report_study(study: Study, *, family: Family | None, store: Store, clock: Clock) -> StudyReport:
    """Reads the study for its report. Of the holdout it reads only the confirmation, which holds sums.

    Args:
        family: the study's, for its rules of privacy; without them no text of an example is shown.
    """
    with store.read() as tx:
        trials = store.studies.trials(tx, study.id)
        results = store.studies.results(tx, study.id, "search")
        spend = store.journal.spend_by_purpose(tx, study.id)
        holdout = (study.dataset or {}).get("holdout", ())
        looks = store.examples.looks(tx, study.family, holdout) if study.confirmation else None
        mask = mask_of(family)
        # Released dev examples of the study, by id.
        if mask is None:
            texts = {}
        else:
            chosen = set((study.dataset or {}).get("dev", ()))
            released = store.examples.of_split(tx, study.family, split="dev", released_only=True)
            masked = [replace(e, input=mask(e.input), expected=mask(e.expected)) for e in released if e.id in chosen]
            texts = {e.id: e for e in masked if e.input is not None and e.expected is not None}
        tried = {t.variant for t in trials}
        ids = sorted({*tried, study.champion, *([study.winner] if study.winner else [])})
        stored = [store.variants.get(tx, study.family, id) for id in ids]
        records = {id: record for id, record in zip(ids, stored, strict=True) if record is not None}
        variants = _variants(records, study, mask, store, tx)
        judge = (study.findings or {}).get(JUDGED_BY)
        calibration = calibration_of_judge(study.family, judge, store, tx) if judge is not None else None
        cascade = curves_of_study(study, trials, family=family, store=store, tx=tx)
        front = front_of_study(study, trials, store=store, clock=clock, tx=tx)
    history = history_of(study, trials, results, unpriced_of(study, variants))
    scored = {f"the champion {study.champion}": study.champion}
    scored |= {f"the winner {study.winner}": study.winner} if study.winner is not None else {}
    compared = {study.champion, history.duel.trial.variant} if history.duel is not None else set()
    return StudyReport(
        study=study,
        history=_without_answers(history),
        variants=variants,
        versions={id: r.file_version for id, r in records.items() if r.file_version is not None},
        texts=texts,
        outputs={
            variant: {
                r.example: output
                for r in results[variant]
                if mask and r.example in texts and (output := mask(r.output)) is not None
            }
            for variant in sorted(compared)
        },
        spent=spend,
        looks=looks,
        made_at=clock.now(),
        cascade=cascade,
        front=front,
        judged=None
        if judge is None
        else judged_scores(judge, calibration, {name: results.get(variant, ()) for name, variant in scored.items()}),
        sensitivity=study_kind(family).sensitivity(study, family, variants, store) if family is not None else None,
    )


def _without_answers(history: StudyStory) -> StudyStory:
    """What was answered to examples stands among the outputs, where it may be shown."""
    if history.duel is None:
        return history
    cases = tuple(
        replace(
            case,
            champion=replace(case.champion, output=None, error=None, judgement=None),
            other=replace(case.other, output=None, error=None, judgement=None),
        )
        for case in history.duel.cases
    )
    return replace(history, duel=replace(history.duel, cases=cases))


def _variants(
    records: Mapping[str, VariantRecord], study: Study, mask: Mask | None, store: Store, tx: Transaction
) -> dict[str, Variant]:
    """Stored id -> variant; a masked variant may have other content than its id names."""
    variants = {id: record.variant for id, record in records.items()}
    # With examples_from: any a variant may quote examples as well which no person has seen.
    used = {e.id for variant in variants.values() for e in variant.examples}
    standing = store.examples.standing(tx, study.family, ids=sorted(used), groups=())
    released = {example.id for example in standing if example.released and example.split != "holdout"}
    return {id: _shown(variant, mask, released) for id, variant in variants.items()}


def _shown(variant: Variant, mask: Mask | None, released: set[str]) -> Variant:
    """The variant with its few-shot examples masked, or without their text where it was not released."""
    masks = [(example, mask if example.id in released else None) for example in variant.examples]
    return replace(
        variant,
        examples=tuple(replace(e, input=_masked(e.input, mask), output=_masked(e.output, mask)) for e, mask in masks),
    )


def _masked(value: Any, mask: Mask | None) -> Any:
    """What may be shown of it; HIDDEN for a text that may not, or that the mask does not get through."""
    if mask is not None and (masked := mask(value)) is not None:
        return masked
    return dict.fromkeys(value, HIDDEN) if isinstance(value, Mapping) else HIDDEN
