"""ROUGE by rouge-score, with Porter's stemmer, for texts in every script; the best of several recorded texts counts.

Words are letters and digits; in scripts that put no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
each character is one. An expected text of one word has no pairs: `rouge_2` is then 1 for the same word and else 0. An
expected text without a word is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any

from optimizer.core.evaluation.metrics.words import answers_of, words
from optimizer.core.family.metrics import metric


def _best(kind: str, about: str) -> Callable[[Any, Any], float]:
    """The best of several good answers counts. Without any, comparing raises ValueError."""

    def best(wanted: Any, value: Any) -> float:
        answers = answers_of(wanted)
        if not answers:
            raise ValueError("there is no expected text to compare with")
        return max(_rouge(kind)(str(answer), str(value)) for answer in answers)

    best.__doc__ = f"F-measure of {about}.\n\nSource: Lin (2004), Text Summarization Branches Out."
    return best


class _Words:
    """The words of a text in every script. rouge-score's own tokenizer stems those in ASCII, and drops all others."""

    def __init__(self) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        one_word = DefaultTokenizer(use_stemmer=True).tokenize
        self._stem = lru_cache(maxsize=65_536)(lambda word: str(one_word(word)[0]))

    def tokenize(self, text: str) -> list[str]:
        return [self._stem(word) if word.isascii() else word for word in words(text)]


@cache
def _rouge(kind: str) -> Callable[[str, str], float]:
    """ROUGE's F-measure in [0, 1] by rouge-score (Lin 2004); the same word scores 1 also where one word makes no pair.

    What it gives raises ValueError for an expected text without a word.
    """
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds and 200 MB to load

    tokenizer = _Words()
    scorer = RougeScorer([kind], tokenizer=tokenizer)

    def f_measure(wanted: str, output: str) -> float:
        expected = tokenizer.tokenize(wanted)
        if not expected:
            raise ValueError(f"the expected text {wanted[:40]!r} holds no word that could be measured")
        if len(expected) == 1 and expected == tokenizer.tokenize(output):
            return 1.0
        return float(scorer.score(wanted, output)[kind].fmeasure)

    return f_measure


_text = partial(metric, sees="answers", version="2", parsers=("text",))
rouge_1 = _text(name="rouge_1")(_best("rouge1", "words"))
rouge_2 = _text(name="rouge_2")(_best("rouge2", "pairs of words"))
rouge_l = _text(name="rouge_l", usual_for="text")(_best("rougeL", "the longest common subsequence of words"))
