"""Short answers beside the recorded ones; the best of several recorded answers counts.

Words are compared after SQuAD's normalisation: without case, punctuation, a, an, the.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from optimizer.core.evaluation.metrics.words import (
    Overlap,
    answers_of,
    overlap_of,
    squad_words,
    stands_in,
    text_of,
    words,
)
from optimizer.core.family.metrics import metric


@metric(sees="answers", parsers=("text", "label"))
def answer_match(wanted: Any, output: Any) -> float:
    """1 where the answer has the same words in the same order as a recorded one, else 0.

    An empty list of answers means that there is none: then an answer without words is right.

    Source: exact match of Rajpurkar et al. (2016), arXiv:1606.05250.
    """
    words = squad_words(text_of(output))
    return float(any(squad_words(str(answer)) == words for answer in answers_of(wanted) or [""]))


@metric(sees="answers", parsers=("text",))
def information_retention(wanted: Any, output: Any) -> float:
    """1 where a recorded answer still stands in the text, word after word, else 0.

    Articles do not count. Punctuation may join or part words: "1919" stands in "(1919–1980)", "1500" in "1,500".

    Raises:
        ValueError: no recorded answer holds a word.
    Source: substring answer recall, as of compressed contexts in Xu et al. (2023), RECOMP, arXiv:2310.04408.
    """
    recorded = [str(answer) for answer in answers_of(wanted)]
    text, retained = text_of(output), []
    for read in (squad_words, _parted):
        facts = read(text)
        retained += [stands_in(answer, facts) for answer in map(read, recorded) if answer]
    if not retained:
        raise ValueError("no recorded answer holds a word that could be looked for")
    return float(any(retained))


def _parted(text: str) -> list[str]:
    return [word for word in words(text) if word not in ("a", "an", "the")]


def _best(measure: Callable[[Overlap], float], about: str) -> Callable[[Any, Any], float]:
    def compare(wanted: Any, output: Any) -> float:
        text = text_of(output)
        # The words of one recorded answer and of the given one, as multisets.
        return max(
            measure(overlap_of(squad_words(str(answer)), squad_words(text))) for answer in answers_of(wanted) or [""]
        )

    compare.__doc__ = f"{about}\n\nSource: F1 of Rajpurkar et al. (2016), arXiv:1606.05250."
    return compare


_short = partial(metric, sees="answers", parsers=("text", "label"))
token_f1 = _short(name="token_f1")(_best(lambda overlap: overlap.f1, "F1 of the words shared with a recorded answer."))
token_precision = _short(name="token_precision")(
    _best(lambda overlap: overlap.precision, "Relevance: share of the answer's words that a recorded answer has.")
)
token_recall = _short(name="token_recall")(
    _best(lambda overlap: overlap.recall, "Completeness: share of a recorded answer's words that the answer has.")
)
