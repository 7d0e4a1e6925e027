"""How easy a text is to read, from the length of its words and sentences."""

from __future__ import annotations

from typing import Any

import regex

from optimizer.core.evaluation.metrics.words import IN_UNSPACED, text_of
from optimizer.core.family.metrics import metric

EASY_GRADE, HARD_GRADE = 6.0, 18.0  # read with ease after six years of school; by people with a university degree
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’\-][\p{L}\p{M}\p{N}]+)*")
_SENTENCE_END = regex.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|\n+")


def reading_grade(text: str) -> float:
    """Automated Readability Index: years of school, about 1 to 20 and unbounded on both sides.

    4.71 x characters per word + 0.5 x words per sentence - 21.43. Characters are letters and digits; a sentence ends
    at . ! ? … before white space, or at a line's end.

    Raises:
        ValueError: the text holds no word, or is in a script that puts no space between words.
    Source:
        Smith and Senter (1967), AMRL-TR-66-220.
    """
    if IN_UNSPACED.search(text) is not None:
        raise ValueError("the text is in a script without spaces between words, whose length this index cannot tell")
    words = _WORD.findall(text)
    if not words:
        raise ValueError("the text holds no word")
    n_chars = sum(sum(char.isalnum() for char in word) for word in words)
    n_sentences = sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part))
    return 4.71 * n_chars / len(words) + 0.5 * len(words) / n_sentences - 21.43


@metric(sees="answers", parsers=("text",), parameters={"easy_grade": "number", "hard_grade": "number"})
def readability(wanted: Any, output: Any, *, easy_grade: float = EASY_GRADE, hard_grade: float = HARD_GRADE) -> float:
    """How easy the answer is to read: 1 up to ``easy_grade`` years of school, 0 from ``hard_grade`` on, a line between.

    Of the answer alone; it needs words between spaces, and Chinese, Japanese, Thai and the like are an error.

    Raises:
        ValueError: the text cannot be measured, or the easy grade does not lie below the hard one.
    Source:
        Automated Readability Index of Smith and Senter (1967), AMRL-TR-66-220.
    """
    if not easy_grade < hard_grade:
        raise ValueError(f"easy_grade is {easy_grade:g} and has to lie below hard_grade, {hard_grade:g}")
    return min(1.0, max(0.0, (hard_grade - reading_grade(text_of(output))) / (hard_grade - easy_grade)))
