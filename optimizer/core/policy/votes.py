"""Several models asked at once: what they agree on is the answer, and where they do not agree the strong one's is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Fault
from optimizer.core.base.knob import Knob, model_names
from optimizer.core.family.rendering import parse_output
from optimizer.core.family.settings import Output

DEFAULT_AGREEMENT = 0.6  # two of two, two of three, three of four
MOST_VOTES = 8

MODELS = Knob(
    name="votes.models",
    kind="list",
    meaning=(
        "Models asked at the same time, the strong one last; each further one costs a call per request and makes"
        " agreement mean more."
    ),
)
AGREEMENT = Knob(
    name="votes.agreement",
    kind="share",
    default=DEFAULT_AGREEMENT,
    meaning=(
        "Share of the models that must give the same answer; raising it sends more to the strong one's answer: better,"
        " and dearer where it was not among those asked."
    ),
)
KNOBS = (MODELS, AGREEMENT)
_WORDS = re.compile(r"\w+[+#]*")
# A number or word with the signs that end it, as in C++ and C#; signs before a number.
_FOLDED = re.compile(r"\w+(?:[.,]\d+)*(?:[+#]+(?![\w+#]))?|[-+*/=<>%$€£](?=\s*\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    models: tuple[str, ...]
    agreement: float = DEFAULT_AGREEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteAgreement:
    """``share`` of all that were asked, failed ones included, gave the same answer; ``members`` are their positions."""

    share: float
    members: tuple[int, ...] = ()


def read_votes(values: Mapping[str, Any], faults: list[Fault]) -> Votes | None:
    """The votes of well-typed knobs; None without models."""
    models = model_names("votes.models", values, faults)
    if not models:
        return None
    if not 2 <= len(models) <= MOST_VOTES:
        faults.append(
            Fault(pointer="/votes.models", detail=f"2 to {MOST_VOTES} models vote, and these are {len(models)}")
        )
    return Votes(models=models, agreement=float(values.get("votes.agreement", DEFAULT_AGREEMENT)))


def agreement_of(output: Output, texts: Sequence[str | None]) -> VoteAgreement:
    """The largest group of equal answers, read as the family reads them.

    Of groups of one size it is the one with the later (stronger) member.

    Args:
        texts: one per model asked, None for one that failed or whose answer does not count.
    """
    groups: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        normal = None if text is None else normalise_answer(output, text)
        if normal is not None:
            groups.setdefault(normal, []).append(i)
    if not groups:
        return VoteAgreement(share=0.0)
    largest = max(groups.values(), key=lambda members: (len(members), members[-1]))
    return VoteAgreement(share=len(largest) / len(texts), members=tuple(largest))


def normalise_answer(output: Output, text: str) -> str | None:
    """Equal for answers that mean the same to the family; None for one that cannot be read.

    Texts count without regard to case, white space and punctuation, lists without regard to order.
    """
    parsed = parse_output(output, text)
    if parsed.error is not None:
        return None
    if output.parser == "label":  # as it is declared: C and C++ are two
        return str(parsed.value)
    if output.parser == "json":
        return canonical_json(parsed.value).decode()
    if output.parser == "list":
        return canonical_json(sorted(_folded(item) for item in parsed.value)).decode()
    return _folded(parsed.value)


def similarity(output: Output, one: str, other: str) -> float:
    """How alike two answers are, in [0, 1]: 1 for equal ones, for two texts the F1 of their words, else 0."""
    first, second = normalise_answer(output, one), normalise_answer(output, other)
    if first is None or second is None:
        return 0.0
    if first == second:
        return 1.0
    if output.parser not in ("text", "list"):
        return 0.0
    a, b = Counter(_WORDS.findall(first)), Counter(_WORDS.findall(second))
    n_words = a.total() + b.total()
    return 2 * (a & b).total() / n_words if n_words else 0.0


def _folded(value: Any) -> str:
    """The words and signs of a text; one without any word stays as it is."""
    text = value if isinstance(value, str) else canonical_json(value).decode()
    folded = text.casefold()
    return " ".join(_FOLDED.findall(folded)) or " ".join(folded.split())
