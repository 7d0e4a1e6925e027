"""A study of a content pipeline: policies are replayed on recorded items. No model is asked and nothing is spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.content.core.declared import slot_faults
from optimizer.content.core.policy.pipeline import Pipeline, knob_of, parse_pipeline
from optimizer.content.core.search.score import WORTH
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Aim, Budget, ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.gates import GateSettings, WishedFloor, quality_level, quality_margin
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant, varied_knobs
from optimizer.core.models.budget import HeldBack
from optimizer.core.search.cost_estimate import replay_estimate
from optimizer.core.search.objective import mean
from optimizer.core.search.study import KEEP, Study
from optimizer.core.statistics.noninferiority import NotLower, fewest_rows, not_lower
from optimizer.core.views.study_story import KnobEffect
from optimizer.jobs.calls.evaluation_calls import CallCounts
from optimizer.jobs.dataset.build_dataset import build_dataset, load_examples
from optimizer.jobs.studies.context import StopFlag, StudyRun
from optimizer.jobs.studies.kinds.kind import CheckedStudyRequest, StudyPlan, studies_of
from optimizer.ports import ModelCatalogue, Store


class ReplayEvaluator:
    """Replaces ``evaluation.Evaluator``; every call counter stays at 0.

    A result's ``cost_usd`` is the item's share of the time of full processing: one dollar is one item processed in
    full.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._pipelines: dict[str, Pipeline] = {}  # by variant
        self.counts = CallCounts()

    def measure_all(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        keep: Callable[[Variant, ExampleResult], None],
        *,
        in_turns: bool = False,
    ) -> None:
        """Measures in order; every result goes to ``keep``."""
        for variant, example in pairs:
            try:
                output, time_share = self._decided(variant, example)
                score = self._scorer.score(example.expected, output, example.input)
            except InvalidInput as fault:  # its values cannot be read, or its worth is not known: no score
                result = ExampleResult(example=example.id, score=None, output=None, error=fault.detail)
            else:
                result = ExampleResult(
                    example=example.id, score=score.value, output=output, error=score.error, cost_usd=time_share
                )
            keep(variant, result)

    def text(self, variant: Variant, example: Example, draw: int = 0) -> str:
        """The decision as JSON, as strategies ask for it."""
        return self._decided(variant, example)[0]

    def tier_rows(self, variant: Variant, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """No tier answers here."""
        return []

    def tier_texts(self, variant: Variant, tier: str, examples: Sequence[Example]) -> Mapping[str, str]:
        """Nor here."""
        return {}

    def asking_scorer(self) -> Scorer:
        """The scorer: decisions are not judged."""
        return self._scorer

    def _decided(self, variant: Variant, example: Example) -> tuple[str, float]:
        pipeline = self._pipelines.get(variant.id)
        if pipeline is None:
            pipeline = self._pipelines[variant.id] = parse_pipeline(variant.policy)
        decision = pipeline.decide(example.input)
        return canonical_json(decision.as_data()).decode(), decision.time_share


N_VALUES = 7  # of each knob


@studies_of(name="policy")
class ReplayedStudy:
    def aim(self, family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
        """Quality; or cost, where the champion saves less time on the training items than is to be kept.

        A champion that saves more already cannot be beaten in time by a policy that processes more items, and better
        ones.
        """
        if all(definition.get(name) is None for name in KEEP):
            return "quality"
        from optimizer.content.core.search.replay import outcome, records_of
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

    def plan(self, wish: CheckedStudyRequest, store: Store, models: ModelCatalogue) -> StudyPlan:
        faults = [
            replace(f, pointer=f"/definition{f.pointer}")
            for slot, entry in wish.space.items()
            for f in slot_faults(slot, entry)
        ]
        if faults:
            raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults), faults)
        dataset = build_dataset(wish.family, wish.definition, store)
        nothing = Budget(usd=0.0, calls=0, minutes=wish.budget.minutes)  # so that it holds no money back from others
        estimate = replay_estimate(wish.definition, len(dataset["train"]))
        from optimizer.content.core.search.score_strategy import asks_for_score, unlearnable_in_words

        if asks_for_score(wish.values, wish.space):
            train, _ = load_examples(wish.family, dataset, store)
            estimate = replace(estimate, remarks=unlearnable_in_words(train, wish.champion.policy or {}))
        return StudyPlan(budget=nothing, dataset=dataset, estimate=estimate)

    def evaluator(
        self, run: StudyRun, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack]
    ) -> ReplayEvaluator:
        return ReplayEvaluator(run.scorer)

    def wished_floors(
        self,
        study: Study,
        champion: Sequence[ExampleResult],
        candidate: Sequence[ExampleResult],
        examples: Sequence[Example],
        settings: GateSettings,
        looks: int,
    ) -> list[WishedFloor]:
        """A wished saving with the quality of what the champion processes, or the wished quality.

        Where quality is the aim the champion saves more than was wished, and the gain in score shows the quality. An
        item that only the champion could decide about counts as processed in full and worth nothing.
        """
        saved, quality = (study.definition.get(name) for name in KEEP)
        if saved is None and quality is None:
            return []
        rows = [row for row in zip(champion, candidate, examples, strict=True) if row[0].score is not None]
        level = quality_level(settings, looks)

        def quality_floor(least: float) -> WishedFloor:
            full = [(c.score or 0.0, e.group) for _, c, e in rows if c.score is None or _is_full(c)]
            margin, scores = quality_margin(least, settings.margin), [score for score, _ in full]
            groups = [group for _, group in full]
            return WishedFloor(
                name="quality",
                what="the mean quality of what is processed in full",
                floor=least,
                margin=margin,
                measured=mean(scores) if full else None,
                test=not_lower([least] * len(full), scores, margin=margin, level=level, groups=groups, lowest=-least)
                if full
                else None,
            )

        if quality is not None:
            return [quality_floor(quality)]
        assert saved is not None
        savings = [0.0 if c.score is None else 1 - c.cost_usd for _, c, _ in rows]
        margin = quality_margin(saved, settings.margin)
        floors = [
            WishedFloor(
                name="saving",
                what="the share of time saved",
                floor=saved,
                margin=margin,
                measured=mean(savings) if savings else None,
                test=_saving_test(savings, [e.group for _, _, e in rows], saved - margin, margin, level),
            )
        ]
        if study.aim != "quality":
            before = [b.score or 0.0 for b, _, _ in rows if _is_full(b)]
            floors.append(quality_floor(mean(before) if before else WORTH))
        return floors

    def sensitivity(
        self, study: Study, family: Family, variants: Mapping[str, Variant], store: Store
    ) -> list[KnobEffect]:
        """The effect of each knob that the space lets vary, around the winner; only sums over the items are given."""
        from optimizer.content.core.search.replay import records_of
        from optimizer.content.core.search.sensitivity import curve, values_to_try

        with store.read() as tx:
            items = store.examples.of_split(tx, study.family, split="dev")
        variant = variants.get(study.winner or study.champion)
        dev = set((study.dataset or {}).get("dev", ()))
        searched = [e for e in items if e.id in dev]
        if variant is None or not searched:
            return []
        records = records_of(searched)
        space = study.definition.get("space")
        varied = varied_knobs(family.space if space is None else space)
        knobs = {name: knob for name in varied if (knob := knob_of(name)) is not None}
        tried = {name: values_to_try(records, name, N_VALUES) for name in knobs}
        return [
            curve(records, variant.policy, name, values, meaning=knobs[name].meaning)
            for name, values in tried.items()
            if values
        ]


def _saving_test(
    savings: Sequence[float], groups: Sequence[str], least: float, margin: float, level: float
) -> NotLower | None:
    """Tests "no more than ``least`` is saved" by the bootstrap over groups.

    A large group takes as much time as its items do, and its mean would count as one of a small group.
    """
    if not savings:
        return None
    import numpy as np

    from optimizer.content.core.search.learned_score import quality_draws

    draws = quality_draws(np.asarray(savings), np.ones(len(savings)), groups)
    p = (1 + int(np.count_nonzero(draws <= least))) / (1 + len(draws))
    return NotLower(p=p, test="bootstrap", n=len(set(groups)), fewest=fewest_rows(margin, level))


def _is_full(result: ExampleResult) -> bool:
    return result.output is not None and json.loads(result.output)["processing_type"] == "full"
