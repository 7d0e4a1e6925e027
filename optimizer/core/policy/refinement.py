"""A quality gate: an answer with a low score is asked for again with a stronger instruction; the best one
is delivered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import Knob

DEFAULT_THRESHOLD = 0.95
DEFAULT_RETRIES, MOST_RETRIES = 3, 5
DEFAULT_PROMPTS = (
    "Check your answer before you give it: it must be complete, correct, and in exactly the form that was asked for.",
    (
        "An earlier answer to this was not good enough. Work it out step by step in your mind, then give only the final"
        " answer in the form asked for."
    ),
    (
        "Two earlier answers were not good enough. Read the request again from its start, leave nothing out, add"
        " nothing that it does not support, and give only the final answer in the form asked for."
    ),
)
JUDGE = "judge"  # the score is the judgement of the family's judge
SCORERS = ("confidence", "checks", JUDGE)
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")

THRESHOLD = Knob(
    name="gate.threshold",
    kind="share",
    default=DEFAULT_THRESHOLD,
    meaning="Score below which the model is asked again; raising it asks again more often: dearer, slower, better.",
)
RETRIES = Knob(
    name="gate.retries",
    kind="integer",
    low=0,
    high=MOST_RETRIES,
    default=DEFAULT_RETRIES,
    meaning=(
        "How often at most an answer is asked for again; raising it makes hard requests dearer and slower, and"
        " sometimes better."
    ),
)
PROMPTS = Knob(
    name="gate.prompts",
    kind="list",
    default=DEFAULT_PROMPTS,
    meaning=(
        "Instructions put behind the system message of the first, second and third retry, weakest first; the last one"
        " serves for all that follow. It has no direction: stronger wording is not always better."
    ),
)
SCORER = Knob(
    name="gate.scorer",
    kind="text",
    default="confidence",
    meaning=(
        "What the score is: confidence, checks (1, less an equal part for each named issue that is found), judge (the"
        " family's judge, mapped to people's ratings; one that no ratings vouch for does not decide), or the dotted"
        " path of a function of your own, (example, output) -> 0..1. It has no direction."
    ),
)
KNOBS = (THRESHOLD, RETRIES, PROMPTS, SCORER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    threshold: float = DEFAULT_THRESHOLD
    retries: int = DEFAULT_RETRIES
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    scorer: str = "confidence"

    def prompt(self, retry: int) -> str:
        """The instruction of a retry, counted from 0."""
        return self.prompts[min(retry, len(self.prompts) - 1)]


def read_gate(values: Mapping[str, Any], faults: list[Fault]) -> Refinement | None:
    """The gate of well-typed knobs; None where no knob of it is set."""
    if not any(knob.name in values for knob in KNOBS):
        return None
    prompts = []
    for i, prompt in enumerate(values.get("gate.prompts", DEFAULT_PROMPTS)):
        if isinstance(prompt, str) and prompt.strip():
            prompts.append(prompt)
        else:
            faults.append(
                Fault(
                    pointer=pointer_of(["gate.prompts", i]),
                    detail=f"an instruction is a text that says something, not {prompt!r}",
                )
            )
    scorer = values.get("gate.scorer", "confidence")
    if scorer not in SCORERS and not _DOTTED.fullmatch(scorer):
        faults.append(
            Fault(
                pointer="/gate.scorer",
                detail=(
                    f"there is no score {scorer!r}; use {', '.join(SCORERS)}, or the dotted path of your own function"
                    " (module.function)"
                ),
            )
        )
    return Refinement(
        threshold=float(values.get("gate.threshold", DEFAULT_THRESHOLD)),
        retries=values.get("gate.retries", DEFAULT_RETRIES),
        prompts=tuple(prompts) or DEFAULT_PROMPTS,
        scorer=scorer,
    )
