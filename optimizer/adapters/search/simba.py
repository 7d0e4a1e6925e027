"""Strategy ``simba``: rules and examples from answers that differ (SIMBA of DSPy).

SIMBA: stochastic introspective mini-batch ascent. The prompt that asks for a rule, and the cases in which none is asked
for, are DSPy's. The rest is ours: every answer goes through journal and budget, the study measures the best prompt of
each step, and only released training examples are drawn, since the proposer sees them and its words may end up in every
user's prompt.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter

import structlog

from optimizer.adapters.search.answered_examples import batches
from optimizer.core.base.errors import ModelFailed
from optimizer.core.base.values import ExampleResult, grouped
from optimizer.core.dataset.examples import Example
from optimizer.core.family.rendering import few_shot
from optimizer.core.family.variant import VARIABLE, Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.examples.sets import usable
from optimizer.core.search.space import doc_of, instruction_of, with_instruction
from optimizer.core.search.strategy import QUALITY, SIMBA, Proposal, SearchSetting, strategy
from optimizer.core.search.strategy_calls import BATCH, CANDIDATES, DRAWS

DRAWN_AT = 1.0  # temperature at which answers are drawn, so that they differ
SHARPNESS = 0.2  # temperature of the softmax that draws a prompt by its mean score
LOW, HIGH = 0.1, 0.9  # quantiles of a batch's scores: what is below teaches nothing, what is above needs no rule
log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _Member:
    """A prompt of the pool with the scores of its answers so far."""

    variant: Variant
    scores: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores) if self.scores else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScoredAnswer:
    example: Example
    text: str
    score: float


@strategy(
    name=SIMBA,
    does="has rules written from answers that differ",
    writes="always",
    aims=QUALITY,
    n_trials=attrgetter("n_instructions"),
    calls=strategy_calls.simba_calls,
    proposals=strategy_calls.simba_proposals,
)
class SimbaSearch:
    """At most ``n_instructions`` steps.

    A step draws answers to a few training examples, makes prompts from the examples whose answers differ most, lets
    these answer the same examples, and proposes the best of them if it does better than the answers drawn.
    """

    def __init__(self, setting: SearchSetting) -> None:
        from optimizer.adapters.search.with_dspy.programs import ProposerEngine, silence_dspy

        silence_dspy()
        self._setting = setting
        self._draw = random.Random(setting.seed)
        self._engine = ProposerEngine(SIMBA, setting)
        self._max_examples = int(setting.definition["max_examples"])
        self._pool = [_Member(variant=setting.start)]
        self._seen = {setting.start.id}
        self._n_steps = 0
        examples = usable(setting.train, setting.family, setting.start, to_be_answered=True)
        self._batches = islice(
            batches(examples, BATCH, self._draw, whole=True), int(setting.definition["n_instructions"])
        )

    def ask(self) -> Proposal | None:
        for batch in self._batches:
            self._n_steps += 1
            if (proposal := self._step(batch)) is not None:
                return proposal
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        for member in self._pool:
            if member.variant.id == proposal.variant.id:
                member.scores += [r.score for r in results if r.score is not None]

    def _step(self, batch: Sequence[Example]) -> Proposal | None:
        import numpy as np

        samples = [
            self._answered(replace(member.variant, model={**member.variant.model, "temperature": DRAWN_AT}), e, n)
            for n in range(DRAWS)
            for e in batch
            for member in [self._member()]
        ]
        known = [d for d in samples if d is not None]
        if not known:
            return None
        scores = [d.score for d in known]
        reached, born = sum(scores) / len(scores), list[_Member]()
        low, high = np.quantile(scores, (LOW, HIGH)).tolist()
        for bucket in _by_difference(known):
            # A prompt of the pool without some of its examples, and with a rule or an example learned from ``bucket``.
            # A failure ends this one only.
            parent = self._member().variant
            # Each example goes with a chance of one in ``max_examples``, and one of them where there is room for no
            # more
            shots = [shot for shot in parent.examples if self._draw.random() >= 1 / max(1, self._max_examples)]
            if len(shots) >= self._max_examples > 0:
                shots.pop(self._draw.randrange(len(shots)))
            forgotten = parent.showing(shots)
            if self._max_examples and self._draw.random() < 0.5:
                variant = self._with_example(forgotten, bucket[0], low)
            else:
                variant = self._with_rule(forgotten, bucket, low, high)
            if variant is not None:
                self._seen.add(variant.id)
                answers = [self._answered(variant, example, 0) for example in batch]
                born.append(_Member(variant=variant, scores=[a.score for a in answers if a is not None]))
            if len(born) == CANDIDATES:
                break
        self._pool += born
        best = max((m for m in born if m.scores), key=lambda m: m.mean, default=None)
        if best is None or best.mean <= reached:
            log.info("step_no_better", strategy=SIMBA, step=self._n_steps, before=reached, after=best and best.mean)
            return None
        params = {
            "step": self._n_steps,
            "batch_before": reached,
            "batch_after": best.mean,
            "n_examples": len(best.variant.examples),
        }
        return Proposal(variant=best.variant, proposer=SIMBA, params=params)

    def _member(self) -> _Member:
        """The start or one of the best, drawn by a softmax over mean scores."""
        among = [self._pool[0], *sorted(self._pool[1:], key=lambda m: -m.mean)[: DRAWS - 1]]
        return self._draw.choices(among, weights=[math.exp(m.mean / SHARPNESS) for m in among])[0]

    def _answered(self, variant: Variant, example: Example, draw: int) -> _ScoredAnswer | None:
        """The answer; None where the model failed, or its answer could not be measured."""
        try:
            text = self._setting.answer(variant, example, draw)
        except ModelFailed:
            return None
        score = self._setting.scorer.score(example.expected, text, example.input).value
        return None if score is None else _ScoredAnswer(example=example, text=text, score=score)

    def _with_example(self, parent: Variant, good: _ScoredAnswer, low: float) -> Variant | None:
        output = good.text.strip()
        if good.score <= low or not output or VARIABLE.search(output):
            return None
        shot = few_shot(self._setting.family, good.example, output)
        variant = parent.showing((*(s for s in parent.examples if s.id != shot.id), shot))
        return variant if variant.id not in self._seen and self._setting.fits(variant) else None

    def _with_rule(self, parent: Variant, bucket: Sequence[_ScoredAnswer], low: float, high: float) -> Variant | None:
        from optimizer.adapters.search.with_dspy.rules import written_rule

        answers = [(sample.example, sample.text, sample.score) for sample in bucket]
        rule = written_rule(
            self._engine, self._setting.family, doc_of(parent), answers, (low, high), step=self._n_steps
        )
        if not rule:
            return None
        variant = with_instruction(parent, "\n\n".join(filter(None, (instruction_of(parent), rule))))
        return variant if self._engine.is_usable(parent, variant, self._seen, step=self._n_steps) else None


def _by_difference(samples: Sequence[_ScoredAnswer]) -> list[list[_ScoredAnswer]]:
    """Answers by example, the best first.

    Examples whose answers differ most come first, then those with the better best one.
    """
    buckets = grouped((sample.example.id, sample) for sample in samples)
    best_first = [sorted(bucket, key=lambda d: -d.score) for bucket in buckets.values()]

    def order(bucket: Sequence[_ScoredAnswer]) -> tuple[float, float, float]:
        best, mean = bucket[0].score, sum(d.score for d in bucket) / len(bucket)
        return bucket[-1].score - best, -best, mean - best

    return sorted(best_first, key=order)
