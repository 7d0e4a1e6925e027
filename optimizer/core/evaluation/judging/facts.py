"""The question whether an answer states facts that its material does not hold, as messages for a judge's model, and
what it answers. Framed as the rubric is: no text can end its own frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.evaluation.judging.rubric import SYSTEM, input_text, marked, read_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """``material``: the inputs, and what tools found, by name."""

    material: Mapping[str, Any]
    answer: str

    @property
    def mark(self) -> str:
        """12 hex digits over all of it, as of ``rubric.Judged``."""
        return digest(canonical_json([dict(self.material), self.answer]))[:12]


def facts_messages(claims: Claims) -> list[dict[str, Any]]:
    """What a member is asked."""
    mark = claims.mark
    parts = [
        "Say whether the ANSWER has a factual error: a statement of fact that the MATERIAL contradicts, or that it"
        " would have to hold and does not. What follows from the material by reasoning is no error, and neither is what"
        " states no fact.",
        marked("MATERIAL", input_text(claims.material), mark),
        marked("ANSWER", claims.answer, mark),
        "Answer with one JSON object and nothing else:\n"
        f'{{"of": "{mark}", "reasoning": "<the first wrong statement, or why there is none>",'
        ' "error": <true or false>}',
    ]
    return [
        {"role": "system", "content": SYSTEM.format(mark=mark)},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def read_facts(claims: Claims, text: str) -> bool:
    """Whether there is an error. Raises ValueError for an answer of another form than the one that was asked for."""
    answer = read_object(text, {"of", "reasoning", "error"}, claims.mark)
    if not isinstance(answer["error"], bool):
        raise ValueError('"error" is neither true nor false')
    return answer["error"]
