"""Pieces of a text (runs of characters, runs of words, or the whole value) weighed as TF-IDF does:
a predictor's part that reads the text itself.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Analyzer = Literal["char", "word", "value"]

READ_CHARS = 20_000
_WORD = re.compile(r"\b\w\w+\b")  # as scikit-learn's TfidfVectorizer cuts words
_SPACES = re.compile(r"\s\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gram:
    """``rarity``: the inverse document frequency, > 0.

    ``weight``: what a text of this piece alone adds to the margin.
    """

    rarity: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GramsPart:
    """Margin of one text: weights of its pieces, each counted 1 + ln(count), times its rarity,
    over the Euclidean length of all known pieces.

    ``text`` names the text that is read; ``low`` to ``high`` is the length of the runs; ``lower`` puts letters in lower
    case first. A text without a known piece, and one that is not given, has the margin ``intercept``.
    """

    text: str
    analyzer: Analyzer
    low: int
    high: int
    lower: bool
    intercept: float
    grams: Mapping[str, Gram]
    share: float = 1.0

    def margin(self, texts: Mapping[str, str]) -> float:
        text = texts.get(self.text)
        if text is None:
            return self.intercept
        counted = count_pieces(text, self.analyzer, self.low, self.high, self.lower)
        known = [
            (gram, (1.0 + math.log(count)) * gram.rarity)
            for piece, count in counted.items()
            if (gram := self.grams.get(piece))
        ]
        length = math.sqrt(math.fsum(value * value for _, value in known))
        return self.intercept + (math.fsum(value * gram.weight for gram, value in known) / length if length else 0.0)


def count_pieces(text: str, analyzer: Analyzer, low: int, high: int, lower: bool) -> Counter[str]:
    """How often each piece occurs in the first 20,000 characters;
    the same pieces as TfidfVectorizer(analyzer=...) finds there.
    """
    read = text[:READ_CHARS].lower() if lower else text[:READ_CHARS]
    return Counter(_CUT[analyzer](read, low, high))


def _characters(text: str, low: int, high: int) -> Iterable[str]:
    plain = _SPACES.sub(" ", text)
    return (plain[start : start + n] for n in range(low, high + 1) for start in range(len(plain) - n + 1))


def _word_runs(text: str, low: int, high: int) -> Iterable[str]:
    words = _WORD.findall(text)
    return (" ".join(words[start : start + n]) for n in range(low, high + 1) for start in range(len(words) - n + 1))


def _value(text: str, _low: int, _high: int) -> Iterable[str]:
    return (text,)


_CUT: Mapping[Analyzer, Callable[[str, int, int], Iterable[str]]] = {
    "char": _characters,
    "word": _word_runs,
    "value": _value,
}
