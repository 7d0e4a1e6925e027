"""A study of a content pipeline: policies are replayed on recorded items. No model is asked and nothing is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optimizer.content.core.declared import slot_faults
from optimizer.content.core.policy.pipeline import knob_of, parse_pipeline
from optimizer.content.jobs.replay_evaluation import ReplayEvaluator
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Aim, Budget
from optimizer.core.family.family import Family
from optimizer.core.family.space_form import varied_knobs
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.search.cost_estimate import replay_estimate
from optimizer.core.search.study import KEEP, Study
from optimizer.core.views.study_story import KnobEffect, KnobValue
from optimizer.jobs.dataset.build_dataset import build_dataset
from optimizer.jobs.studies.kinds.kind import AskedStudy, StudyKind, StudyPlan
from optimizer.ports import ModelCatalogue, Store

if TYPE_CHECKING:
    from optimizer.content.core.search.sensitivity import KnobCurve
    from optimizer.core.base.knob import Knob
    from optimizer.jobs.studies.context import StopFlag, StudyRun

N_VALUES = 7  # of each knob


class ReplayedStudy:
    def aim(self, family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
        """Quality; or cost, where something is to be kept and the champion saves less time than
        that on the training items.

        A champion that saves more already cannot be beaten in time by what processes more items, and better ones.
        """
        if all(definition.get(name) is None for name in KEEP):
            return "quality"
        from optimizer.content.core.search.learned_score import records_of
        from optimizer.content.core.search.replay import outcome
        from optimizer.content.core.search.score_strategy import MOST_SAVED

        with store.read() as tx:
            champion = store.champions.current(tx, family.name)
            record = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
            items = [
                e
                for e in store.examples.of_split(tx, family.name, split="train")
                if e.expected.get("quality") is not None
            ]
        if record is None or not items:
            return "quality"
        wanted = definition.get("keep_saved")
        least = wanted if isinstance(wanted, float) else MOST_SAVED
        return (
            "cost"
            if outcome(records_of(items), parse_pipeline(record.variant.policy)).time_saved_share < least
            else "quality"
        )

    def plan(self, asked: AskedStudy, store: Store, models: ModelCatalogue) -> StudyPlan:
        faults = [
            replace(f, pointer=f"/definition{f.pointer}")
            for slot, entry in asked.space.items()
            for f in slot_faults(slot, entry)
        ]
        if faults:
            raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults), faults)
        dataset = build_dataset(asked.family, asked.definition, store)
        nothing = Budget(usd=0.0, calls=0, minutes=asked.budget.minutes)  # so that it holds no money back from others
        return StudyPlan(
            budget=nothing, dataset=dataset, estimate=replay_estimate(asked.definition, len(dataset["train"]))
        )

    def evaluator(
        self, run: StudyRun, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack]
    ) -> ReplayEvaluator:
        return ReplayEvaluator(run.scorer)

    def sensitivity(
        self, study: Study, family: Family, variants: Mapping[str, Variant], store: Store
    ) -> list[KnobEffect]:
        """Of each knob that the space lets vary, around the winner; only sums over the items are told."""
        from optimizer.content.core.search.replay import read_columns, rows_to_columns
        from optimizer.content.core.search.sensitivity import curve, values_to_try

        with store.read() as tx:
            items = store.examples.of_split(tx, study.family, split="dev")
        variant = variants.get(study.winner or study.champion)
        dev = set((study.dataset or {}).get("dev", ()))
        rows = [{**e.input, "quality": e.expected.get("quality")} for e in items if e.id in dev]
        if variant is None or not rows:
            return []
        records = read_columns(rows_to_columns(rows))
        varied = varied_knobs(study.definition.get("space") or family.space)
        knobs = {name: knob for name in varied if (knob := knob_of(name)) is not None}
        tried = {name: values_to_try(records, name, N_VALUES) for name in knobs}
        return [
            _effect(knobs[name], curve(records, variant.policy, name, values))
            for name, values in tried.items()
            if values
        ]


def _effect(knob: Knob, found: KnobCurve) -> KnobEffect:
    values = [
        KnobValue(
            value=point.value,
            time_saved_share=point.outcome.time_saved_share,
            full_share=point.outcome.full_share,
            quality=point.outcome.quality,
            n_judged=point.outcome.n_judged,
        )
        for point in found.points
    ]
    return KnobEffect(knob=found.knob, meaning=knob.meaning, values=tuple(values), is_flat=found.is_flat)


REPLAYED: StudyKind = ReplayedStudy()
