"""Whether a judge favours a place, a length or its own answers: differences row by row, with an interval and a verdict.

Differences come in, verdicts go out. ``jobs/runs/check_judge.py`` has the questions to the judge.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any, Literal

from typing_extensions import TypedDict

from optimizer.core.base.answers import Text
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.phrasing import signed, signed_interval
from optimizer.core.evaluation.judging.rubric import SYSTEM, input_text, mark_text, read_object
from optimizer.core.family.settings import JudgeSettings

BiasName = Literal["position", "verbosity", "self_preference"]
BiasVerdict = Literal["biased", "no_bias_found", "cannot_tell"]
MIN_ROWS = 20
CONFIDENCE = 1 - 0.05 / 3  # of each interval: a check of three accuses an honest judge in 5 of 100 cases
TOLERATED = 0.10  # a bias within it is too small to matter
N_DRAWS = 4000
FILLERS = (
    "It is worth keeping this in mind.",
    "There is, of course, more than one way to look at it.",
    "As always, it depends on a number of things.",
    "This is an important point, and it should be seen as such.",
    "All in all, these are the things that should be considered here.",
)
_WORDS = {
    "position": "the answer that stands first wins {} beyond its half",
    "verbosity": "empty sentences raise the score by {}",
    "self_preference": "answers of its own model win {} more often than before another judge",
}


class BiasFound(TypedDict):
    """``value``: mean over ``n`` rows, with an interval of ``CONFIDENCE``; None with fewer than 20 rows.

    Above 0 the judge likes what it should not care for. ``why``: what kept it from being told, where it was. ``said``:
    the bias in a sentence.
    """

    name: BiasName
    verdict: BiasVerdict
    n: int
    value: float | None
    low: float | None
    high: float | None
    why: Text[str]
    said: str


def bias_of(name: BiasName, differences: Sequence[float], *, why_few: str = "") -> BiasFound:
    """The verdict on one difference per row.

    Args:
        differences: in [-1, 1]; rows that could not be measured are left out.
        why_few: why there are none, where that is known.
    """
    n = len(differences)
    if n < MIN_ROWS:
        why = why_few or f"{n} rows could be measured and {MIN_ROWS} are needed"
        return BiasFound(
            name=name,
            verdict="cannot_tell",
            n=n,
            value=None,
            low=None,
            high=None,
            why=why,
            said=f"{name}: cannot tell, {why}.",
        )
    mean = sum(differences) / n
    # Bootstrap by rows, never narrower than a row of the other kind would make it.
    draw = random.Random(0)
    means = sorted(sum(draw.choices(differences, k=n)) / n for _ in range(N_DRAWS))
    tail = (1 - CONFIDENCE) / 2
    low, high = means[floor(tail * N_DRAWS)], means[ceil((1 - tail) * N_DRAWS) - 1]
    least = 1 / (n * sqrt(n))  # rows that agree to the last do not prove the next one
    low, high = min(low, mean - least), max(high, mean + least)
    worst = high if name != "position" else max(high, -low)
    # A place may be liked or disliked; of length and of one's own answers only a liking is a bias.
    likes = low > 0 or (name == "position" and high < 0)
    verdict: BiasVerdict = "no_bias_found" if worst <= TOLERATED else "biased" if likes else "cannot_tell"
    why = {
        "no_bias_found": "what there is, is too small to matter" if likes else "",
        "cannot_tell": f"it may be as large as {worst:.2f}; more rows narrow that",
    }.get(verdict, "")
    shown, interval = f"{signed(100 * mean, 1)}%", f"{signed_interval(100 * low, 100 * high, digits=1)} %"
    if name == "verbosity":  # of scores, and no share
        shown, interval = signed(mean), signed_interval(low, high)
    sentence = (
        f"{name}: {verdict.replace('_', ' ')}, {_WORDS[name].format(shown)} (98 % interval {interval}, {n} rows)"
        f"{f'; {why}' if why else ''}."
    )
    return BiasFound(name=name, verdict=verdict, n=n, value=mean, low=low, high=high, why=why, said=sentence)


def place_bias(first_wins: float, swapped_first_wins: float) -> float:
    """What the first place won beyond its half when one pair was shown in both orders, in [-.5, .5].

    0 where the same answer won both times.

    Args:
        first_wins, swapped_first_wins: 1, .5 or 0, of the answer that stood first.
    """
    return (first_wins + swapped_first_wins) / 2 - 0.5


def own_wins(first_wins: float, swapped_first_wins: float) -> float:
    """What the judge's own answer won, in [0, 1], when a pair was shown with it first and then with it second."""
    return (first_wins + 1 - swapped_first_wins) / 2


def pad(answer: str) -> str:
    """The answer with sentences that say nothing, about twice as long and at least two sentences longer."""
    parts, added = [answer.rstrip()], 0
    while added < 2 or sum(map(len, parts[1:])) < len(answer):
        parts.append(FILLERS[added % len(FILLERS)])
        added += 1
    return " ".join(parts)


_WINS: Mapping[str, float] = {"first": 1.0, "neither": 0.5, "second": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one input, in the order in which they are shown."""

    task: str
    input: Mapping[str, Any]
    first: str
    second: str

    @property
    def mark(self) -> str:
        """12 hex digits over all of it, as of ``rubric.JudgeCase``."""
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
        mark_text("INPUT", input_text(pair.input), mark),
        mark_text("FIRST", pair.first, mark),
        mark_text("SECOND", pair.second, mark),
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
    better = read_object(text, {"of", "reasoning", "better"}, pair.mark)["better"]
    if not isinstance(better, str) or better not in _WINS:
        raise ValueError('"better" is not first, second or neither')
    return _WINS[better]
