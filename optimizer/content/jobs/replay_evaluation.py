"""Evaluation in families of kind policy: what a Variant's policy does with recorded items.

No model is asked and nothing is spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from optimizer.content.core.policy.pipeline import Pipeline, parse_pipeline
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer


class ReplayEvaluator:
    """Takes the place of ``evaluation.Evaluator``; every call counter stays at 0.

    A result's ``cost_usd`` is the item's share of the time that processing it in full takes: one dollar stands for one
    such item.
    """

    dearest_usd = 0.0
    n_fresh = 0
    n_from_journal = 0

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._pipelines: dict[str, Pipeline] = {}  # by variant
        self.fresh_by_variant: Counter[str] = Counter()

    def measure_all(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        keep: Callable[[Variant, ExampleResult], None],
        *,
        in_turns: bool = False,
    ) -> None:
        """In order; every result goes to ``keep``."""
        for variant, example in pairs:
            keep(variant, self._measure(variant, example))

    def text(self, variant: Variant, example: Example, draw: int = 0) -> str:
        """The decision as JSON, as strategies ask for it."""
        return self._decided(variant, example)[0]

    def tier_rows(self, variant: Variant, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """No tier answers here."""
        return []

    def counted_proposal(self, answer: ModelAnswer) -> None:
        """Refuses: a policy has no text that a model could propose."""
        raise InvalidInput("A policy family has no instruction that could be written.")

    def asking_scorer(self) -> Scorer:
        """The scorer: decisions are not judged."""
        return self._scorer

    def _measure(self, variant: Variant, example: Example) -> ExampleResult:
        """An item whose values cannot be read, or whose worth is not known, has no score."""
        try:
            output, time_share = self._decided(variant, example)
            score = self._scorer.score(example.expected, output, example.input)
        except InvalidInput as fault:
            return ExampleResult(example=example.id, score=None, output=None, error=fault.detail)
        return ExampleResult(
            example=example.id, score=score.value, output=output, error=score.error, cost_usd=time_share
        )

    def _decided(self, variant: Variant, example: Example) -> tuple[str, float]:
        pipeline = self._pipelines.get(variant.id)
        if pipeline is None:
            pipeline = self._pipelines[variant.id] = parse_pipeline(variant.policy)
        decision = pipeline.decide(example.input)
        return canonical_json(decision.as_data()).decode(), decision.time_share
