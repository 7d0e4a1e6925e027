"""Rules as DSPy's SIMBA has them written from answers that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy
from dspy.teleprompt.simba_utils import append_a_rule

from optimizer.adapters.search.with_dspy.programs import OUTPUT, ProposerEngine, example_of, signature_of
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family


def written_rule(
    engine: ProposerEngine,
    family: Family,
    instruction: str,
    answers: Sequence[tuple[Example, str, float]],
    quantiles: tuple[float, float],
    step: int,
) -> str | None:
    """The words to go behind an instruction; None where the proposal failed.

    Args:
        answers: to one example, each with its score, the best first.
        quantiles: of the batch's scores, the tenth and the ninetieth.
    """
    system = _Prompt(signature_of(family, instruction))
    before = system.answer.signature.instructions
    low, high = quantiles

    def rule_of() -> str:
        append_a_rule(
            [_shown(system, family, *answer) for answer in answers],
            system,
            predictor2name={id(system.answer): "answer"},
            prompt_model=engine.lm,
            batch_10p_score=low,
            batch_90p_score=high,
        )
        return str(system.answer.signature.instructions).removeprefix(before).strip()

    with engine.as_model():
        return engine.proposed(rule_of, step=step)


def _shown(system: _Prompt, family: Family, example: Example, text: str, score: float) -> dict[str, Any]:
    """An answer as DSPy's rules read one."""
    expected, answered = example_of(family, example), {OUTPUT: text}
    return {
        "trace": [(system.answer, dict(expected.inputs()), answered)],
        "prediction": answered,
        "score": score,
        "example": expected,
        "output_metadata": {},
    }


class _Prompt(dspy.Module):  # type: ignore[misc]  # DSPy carries no types
    """One prompt that answers. (This source is what the proposer is shown.)"""

    def __init__(self, signature: Any) -> None:
        super().__init__()
        self.answer = dspy.Predict(signature)

    def forward(self, **inputs: Any) -> Any:
        return self.answer(**inputs)
