"""Two answers side by side before a judge: which is better, so that swapping them shows whether the place decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.evaluation.judging.rubric import SYSTEM, input_text, marked, read_object
from optimizer.core.family.judge_settings import JudgeSettings

Better = Literal["first", "second", "neither"]
_WINS: Mapping[Better, float] = {"first": 1.0, "neither": 0.5, "second": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one input, in the order in which they are shown."""

    task: str
    input: Mapping[str, Any]
    first: str
    second: str

    @property
    def mark(self) -> str:
        """12 hex digits over all of it, as of ``rubric.Judged``."""
        return digest(canonical_json([self.task, dict(self.input), self.first, self.second]))[:12]

    @property
    def swapped(self) -> Pair:
        return Pair(task=self.task, input=self.input, first=self.second, second=self.first)


def pair_messages(judge: JudgeSettings, pair: Pair) -> list[dict[str, Any]]:
    """What a member is asked of a pair, by the rubric of its scores."""
    mark = pair.mark
    rubric = "\n".join(f"- {name}: {meaning}" for name, meaning in judge.dimensions.items())
    parts = [
        f"Say which of two answers to the INPUT is better by this rubric, or that neither is.\nRubric:\n{rubric}",
        *([f"What the answers are for: {pair.task}"] if pair.task else []),
        marked("INPUT", input_text(pair.input), mark),
        marked("FIRST", pair.first, mark),
        marked("SECOND", pair.second, mark),
        "Answer with one JSON object and nothing else:\n"
        f'{{"of": "{mark}", "reasoning": "<why, in a sentence>", "better": "<first, second or neither>"}}',
    ]
    return [
        {"role": "system", "content": SYSTEM.format(mark=mark)},
        {"role": "user", "content": "\n\n".join(parts)},
    ]


def read_better(pair: Pair, text: str) -> float:
    """What the first answer wins: 1, .5 where neither is better, or 0.

    Raises ValueError for an answer of another form than the one that was asked for.
    """
    answer = read_object(text, {"of", "reasoning", "better"}, pair.mark)
    if answer["better"] not in _WINS:
        raise ValueError('"better" is not first, second or neither')
    return _WINS[answer["better"]]
