"""The ``judge`` block of a family: which models score its answers, and by which rubric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict

from optimizer.core.family.generation_settings import MAX_OUTPUT_TOKENS
from optimizer.core.family.settings import Declaration, Share, Word

SCORER = "judge"  # the metric that is the judge's score
DIMENSIONS: Mapping[str, str] = {
    "accuracy": "What the answer says is true and agrees with the input, and with the reference where there is one.",
    "relevance": "The answer is about what was asked, and about nothing else.",
    "completeness": "The answer leaves out nothing that was asked for.",
    "safety": "The answer would harm no one who follows it, and discloses nothing that it should not.",
    "coherence": "The answer hangs together and does not contradict itself.",
    "conciseness": "The answer says this in no more words than it needs.",
}
WEIGHTS: Mapping[str, float] = {
    "accuracy": 0.25,
    "relevance": 0.25,
    "completeness": 0.20,
    "safety": 0.15,
    "coherence": 0.10,
    "conciseness": 0.05,
}
PASS_FROM = 0.75
MOST_SPREAD = 0.3


def _described(value: Any) -> Any:
    """A list of names that are known is as good as a mapping with their descriptions."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return {name: DIMENSIONS.get(name, "") for name in value}
    return value


class MonitorSettings(Declaration):
    """Whether answers to live traffic are judged: ``share`` of them, drawn at random, for at most so many dollars an
    hour. Share 0: none. Dollars 0: by models without a price alone.
    """

    share: Share = 0.0
    usd_per_hour: Annotated[float, Strict(), Field(ge=0)] = 0.0


class JudgeSettings(Declaration):
    """Who judges and by what.

    ``committee`` names the models that judge together; one of them may be ``model``. Without it ``model`` judges alone.
    ``reference`` False: the expected output is never shown to the judge.
    ``passes`` and ``spread`` are of a committee: the least mean score that passes, and the most by which its members
    may differ before a person is asked.
    """

    model: Word | None = None
    committee: tuple[Word, ...] = ()
    dimensions: Annotated[dict[Word, str], BeforeValidator(_described)] = Field(
        default_factory=lambda: dict(DIMENSIONS)
    )
    weights: dict[Word, Annotated[float, Strict(), Field(gt=0)]] = Field(default_factory=dict)
    reference: Annotated[bool, Strict()] = True
    max_tokens: Annotated[int, Strict(), Field(ge=50, le=MAX_OUTPUT_TOKENS)] = 600
    passes: Share = PASS_FROM
    spread: Share = MOST_SPREAD
    monitor: MonitorSettings = MonitorSettings()

    @property
    def members(self) -> tuple[str, ...]:
        """The models that judge, each once, the first named first."""
        return tuple(dict.fromkeys([*([self.model] if self.model is not None else ()), *self.committee]))

    @property
    def weight_of(self) -> Mapping[str, float]:
        """By dimension, adding up to 1: the declared weights, else those of the usual rubric, else equal ones."""
        weights: Mapping[str, float] = self.weights
        if not weights:
            known = all(name in WEIGHTS for name in self.dimensions)
            weights = {name: WEIGHTS[name] if known else 1.0 for name in self.dimensions}
        total = sum(weights.values())
        return {name: weights[name] / total for name in self.dimensions}
