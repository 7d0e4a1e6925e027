"""What a predictor adds up (a linear part, trees) and how its sum becomes a calibrated number.

Plain Python: the serving path loads no numerical library.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

Numbers = Sequence[float | None]  # in the order of the predictor's features; None: not measured

LEAF = -1
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Whole = Annotated[int, Strict()]
Positive = Annotated[Number, Field(gt=0)]


class PartData(BaseModel):
    """Base of what is read from a predictor's data: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LinearPart(PartData):
    """intercept + sum of weight x (value - centre) / scale; a value that was not measured counts as the centre."""

    kind: Literal["linear"]
    centre: tuple[Number, ...]
    scale: tuple[Positive, ...]
    weights: tuple[Number, ...]
    intercept: Number
    share: Number = 1.0

    def margin(self, numbers: Numbers) -> float:
        rows = zip(numbers, self.centre, self.scale, self.weights, strict=True)
        return self.intercept + math.fsum(
            (value - centre) / scale * weight for value, centre, scale, weight in rows if value is not None
        )


class Tree(PartData):
    """One tree as arrays over its nodes, root first, children after their parent.

    ``feature`` is -1 at a leaf, which holds ``value``.
    """

    feature: tuple[Whole, ...]
    threshold: tuple[Number, ...]  # value <= threshold goes left
    left: tuple[Whole, ...]
    right: tuple[Whole, ...]
    missing_left: tuple[bool, ...]  # where a value goes that was not measured
    value: tuple[Number, ...]

    def leaf(self, numbers: Numbers) -> float:
        node = 0
        while (feature := self.feature[node]) != LEAF:
            number = numbers[feature]
            goes_left = self.missing_left[node] if number is None else number <= self.threshold[node]
            node = self.left[node] if goes_left else self.right[node]
        return self.value[node]


class TreesPart(PartData):
    """Gradient-boosted trees (Friedman 2001): start + sum of the leaves, whose values include the learning rate."""

    kind: Literal["trees"]
    start: Number
    trees: tuple[Tree, ...]
    share: Number = 1.0

    def margin(self, numbers: Numbers) -> float:
        return self.start + math.fsum(tree.leaf(numbers) for tree in self.trees)


class Platt(PartData):
    """Margin times slope plus intercept, before it becomes a probability (Platt 1999). Keeps the order; slope > 0."""

    kind: Literal["platt"] = "platt"
    slope: Positive
    intercept: Number


class Isotonic(PartData):
    """Straight lines between knots, level outside them (Zadrozny and Elkan 2002). ``x`` rises, ``y`` never falls."""

    kind: Literal["isotonic"] = "isotonic"
    x: tuple[Number, ...]
    y: tuple[Number, ...]


def logistic(margin: float) -> float:
    """1 / (1 + exp(-margin)) without overflow."""
    if margin >= 0:
        return 1.0 / (1.0 + math.exp(-margin))
    grown = math.exp(margin)
    return grown / (1.0 + grown)


Analyzer = Literal["char", "word", "value"]
MOST_GRAMS = 200_000
# Piece -> its rarity (inverse document frequency, > 0), and what a text of this piece alone adds to the margin.
Gram = Annotated[tuple[Number, ...], Field(min_length=2, max_length=2)]

READ_CHARS = 20_000
_WORD = re.compile(r"\b\w\w+\b")  # as scikit-learn's TfidfVectorizer cuts words
_SPACES = re.compile(r"\s\s+")


class GramsPart(PartData):
    """Margin of one text: the weights of its pieces, each counted 1 + ln(count) times its rarity, over their length.

    The length is the Euclidean one of all known pieces. ``text`` names the text that is read; ``low`` to ``high`` is
    the length of the runs; ``lower`` first lowers the case of letters. A text without a known piece, and a missing one,
    has the margin ``intercept``.
    """

    kind: Literal["grams"]
    text: Annotated[str, Field(min_length=1)]
    analyzer: Analyzer
    low: Whole
    high: Whole
    lower: Annotated[bool, Strict()]
    intercept: Number
    grams: Annotated[dict[str, Gram], Field(max_length=MOST_GRAMS)]
    share: Number = 1.0

    def margin(self, texts: Mapping[str, str]) -> float:
        text = texts.get(self.text)
        if text is None:
            return self.intercept
        counted = count_pieces(text, self.analyzer, self.low, self.high, self.lower)
        known = [
            (gram[1], (1.0 + math.log(count)) * gram[0])
            for piece, count in counted.items()
            if (gram := self.grams.get(piece))
        ]
        length = math.sqrt(math.fsum(value * value for _, value in known))
        return self.intercept + (math.fsum(value * weight for weight, value in known) / length if length else 0.0)


def count_pieces(text: str, analyzer: Analyzer, low: int, high: int, lower: bool) -> Counter[str]:
    """How often each piece occurs in the first 20,000 characters.

    The pieces are those that TfidfVectorizer(analyzer=...) finds.
    """
    return Counter(_CUT[analyzer](text[:READ_CHARS].lower() if lower else text[:READ_CHARS], low, high))


def _characters(text: str, low: int, high: int) -> Iterable[str]:
    plain = _SPACES.sub(" ", text)
    return (plain[start : start + n] for n in range(low, high + 1) for start in range(len(plain) - n + 1))


def _word_runs(text: str, low: int, high: int) -> Iterable[str]:
    words = _WORD.findall(text)
    return (" ".join(words[start : start + n]) for n in range(low, high + 1) for start in range(len(words) - n + 1))


_CUT: Mapping[Analyzer, Callable[[str, int, int], Iterable[str]]] = {
    "char": _characters,
    "word": _word_runs,
    "value": lambda text, _low, _high: (text,),
}
