"""Strategy ``bootstrap``: candidates of DSPy's random search over few-shot examples
(BootstrapFewShotWithRandomSearch).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from optimizer.core.base.values import ExampleResult, mean_score
from optimizer.core.family.variant import Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.examples.sets import usable
from optimizer.core.search.strategy import Proposal, SearchSetting, strategy

# DSPy's fixed candidates: -3 no examples, -2 labelled ones, -1 unshuffled; from 0 on shuffled by the seed
FIRST_SEED, LABELLED = -3, -2
NEVER = 10**9  # errors before DSPy gives up: a failed example is a scored failure, it does not end a search


@strategy(
    name="bootstrap",
    does="has the model answer training examples and shows it the good answers",
    n_trials=strategy_calls.n_bootstrapped,
    calls=strategy_calls.bootstrap_calls,
)
class BootstrapSearch:
    """One candidate seed of BootstrapFewShotWithRandomSearch per ask; each variant is proposed once."""

    def __init__(self, setting: SearchSetting) -> None:
        from optimizer.adapters.search.with_dspy.programs import Program, silence_dspy

        silence_dspy()
        self._setting = setting
        self._start = setting.start.showing(())
        self._program = Program(setting, self._start)
        self._train = [
            self._program.as_dspy(e) for e in usable(setting.train, setting.family, setting.start, to_be_answered=True)
        ]
        if setting.seed:
            random.Random(setting.seed).shuffle(self._train)
        self._max_examples = int(setting.definition["max_examples"])
        n_candidates = int(setting.definition["n_candidates"]) if self._train and self._max_examples else 0
        self._seeds = iter(range(FIRST_SEED, n_candidates or FIRST_SEED + 1))
        self._scores: dict[str, float | None] = {}
        threshold = setting.definition.get("threshold")
        self._threshold = None if threshold is None else float(threshold)

    def ask(self) -> Proposal | None:
        for seed in self._seeds:
            variant = self._start if seed == FIRST_SEED else self._compile(seed)
            if variant.id not in self._scores and self._setting.fits(variant):
                self._scores[variant.id] = None
                return Proposal(
                    variant=variant, proposer="bootstrap", params={"seed": seed, "n_examples": len(variant.examples)}
                )
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        self._scores[proposal.variant.id] = score
        reached = mean_score(results) if results else score
        if self._threshold is None and proposal.variant.id == self._setting.start.id and reached is not None:
            self._threshold = reached  # an output worse than what is reached already teaches nothing

    def _compile(self, seed: int) -> Variant:
        """The candidate that DSPy's random search makes of one seed; the study evaluates it."""
        from dspy.teleprompt import BootstrapFewShot, LabeledFewShot

        train = list(self._train)
        n_bootstrapped = self._max_examples
        if seed >= 0:
            random.Random(seed).shuffle(train)
            n_bootstrapped = random.Random(seed).randint(1, self._max_examples)
        optimizer: Any = LabeledFewShot(k=self._max_examples)
        if seed > LABELLED:
            optimizer = BootstrapFewShot(
                metric=self._program.metric(self._threshold or 0.0),
                max_bootstrapped_demos=n_bootstrapped,
                max_labeled_demos=self._max_examples,
                max_errors=NEVER,
            )
        with self._program.context():
            best = optimizer.compile(self._program.student(), trainset=train)
        (predictor,) = best.predictors()
        return self._program.variant(predictor.demos)
