"""A study of a content pipeline: policies are replayed on recorded items. No model is asked and nothing is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Aim, Budget
from optimizer.core.content.declared import slot_faults
from optimizer.core.content.policy.pipeline import knob_of, parse_pipeline
from optimizer.core.family.family import Family
from optimizer.core.family.space_form import varied_knobs
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.search.cost_estimate import replay_estimate
from optimizer.core.search.study import KEEP, Study
from optimizer.jobs.content.replay_evaluation import ReplayEvaluator
from optimizer.jobs.dataset.build_dataset import build_dataset
from optimizer.jobs.studies.kinds.kind import AskedStudy, StudyKind, StudyPlan
from optimizer.ports import ModelCatalogue, Store

if TYPE_CHECKING:
    from optimizer.core.content.search.sensitivity import KnobCurve
    from optimizer.jobs.studies.context import StopFlag, StudyRun

N_VALUES = 7  # of each knob


class ReplayedStudy:
    def aim(self, family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
        """Quality; or cost, where something is to be kept and the champion saves less time than that on the training items.

        A champion that saves more already cannot be beaten in time by what processes more items, and better ones.
        """
        if all(definition.get(name) is None for name in KEEP):
            return "quality"
        from optimizer.core.content.search.learned_score import records_of
        from optimizer.core.content.search.replay import outcome
        from optimizer.core.content.search.score_strategy import MOST_SAVED

        with store.read() as tx:
            champion = store.champions.current(tx, family.name)
            record = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
            items = [e for e in store.examples.of_split(tx, family.name, split="train") if e.expected.get("quality") is not None]
        if record is None or not items:
            return "quality"
        wanted = definition.get("keep_saved")
        least = wanted if isinstance(wanted, float) else MOST_SAVED
        return "cost" if outcome(records_of(items), parse_pipeline(record.variant.policy)).time_saved_share < least else "quality"

    def plan(self, asked: AskedStudy, store: Store, models: ModelCatalogue) -> StudyPlan:
        faults = [replace(f, pointer=f"/definition{f.pointer}") for slot, entry in asked.space.items() for f in slot_faults(slot, entry)]
        if faults:
            raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults), faults)
        dataset = build_dataset(asked.family, asked.definition, store)
        nothing = Budget(usd=0.0, calls=0, minutes=asked.budget.minutes)  # so that it holds no money back from others
        return StudyPlan(budget=nothing, dataset=dataset, estimate=replay_estimate(asked.definition, len(dataset["train"])))

    def evaluator(self, run: StudyRun, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack]) -> ReplayEvaluator:
        return ReplayEvaluator(run.scorer)

    def sensitivity(self, study: Study, family: Family, variants: Mapping[str, Variant], store: Store) -> list[KnobCurve]:
        """Of each knob that the space lets vary, around the winner; only sums over the items are told."""
        from optimizer.core.content.search.replay import read_columns, rows_to_columns
        from optimizer.core.content.search.sensitivity import curve, values_to_try

        with store.read() as tx:
            items = store.examples.of_split(tx, study.family, split="dev")
        variant = variants.get(study.winner or study.champion)
        dev = set((study.dataset or {}).get("dev", ()))
        rows = [{**e.input, "quality": e.expected.get("quality")} for e in items if e.id in dev]
        if variant is None or not rows:
            return []
        records = read_columns(rows_to_columns(rows))
        knobs = varied_knobs(study.definition.get("space") or family.space)
        tried = {knob: values_to_try(records, knob, N_VALUES) for knob in knobs if knob_of(knob) is not None}
        return [curve(records, variant.policy, knob, values) for knob, values in tried.items() if values]


REPLAYED: StudyKind = ReplayedStudy()
