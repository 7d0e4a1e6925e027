"""What metrics share: texts as words in every script, the part of a value that is measured, and overlap in both
directions.

An expected value of the wrong form is the example's fault and raises ValueError; a given one is the model's, and
matches nothing.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import regex

# scripts that put no space between words
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|(?:(?![{_UNSPACED}])[\p{{L}}\p{{N}}]\p{{M}}*)+")
IN_UNSPACED = regex.compile(rf"[{_UNSPACED}]")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION = regex.compile(r"\p{P}")


def fold(value: Any) -> str:
    """A text without regard to case, width, form of its accents, and white space."""
    return " ".join(unicodedata.normalize("NFKC", str(value)).casefold().split())


def words(text: str) -> list[str]:
    """Runs of letters and digits with their marks, without regard to case; of scripts without spaces each character.

    On ASCII these are the tokens of Lin's ROUGE before stemming: what is no letter or digit parts words.
    """
    matches: list[str] = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return matches


def squad_words(text: str) -> list[str]:
    """Words after SQuAD's normalisation: small letters, no punctuation, no a, an, the.

    On ASCII equal to ``normalize_answer`` of the evaluation script of SQuAD 2.0, split at spaces. Of other texts other
    punctuation goes, too, and characters of scripts without spaces are words, as in MLQA.

    Source: Rajpurkar et al. (2016), arXiv:1606.05250; Lewis et al. (2020), arXiv:1910.07475.
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    text = _ARTICLE.sub(" ", _PUNCTUATION.sub("", unicodedata.normalize("NFKC", text).casefold()))
    tokens: list[str] = IN_UNSPACED.sub(r" \g<0> ", text).split()
    return tokens


def stands_in(part: list[str], whole: list[str]) -> bool:
    """Whether the words follow one another somewhere in the others; no words stand everywhere."""
    n = len(part)
    return any(whole[i : i + n] == part for i in range(len(whole) - n + 1))


Wrong = object()  # in place of an unusable value from a model: it counts as found, and is never right


def answers_of(wanted: Any) -> list[Any]:
    """Several good answers, or the one."""
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def wanted_items(wanted: Any, key: str) -> list[Any]:
    """The expected list: the value itself, or the list that an object has under ``key``. Raises
    ValueError without one.
    """
    items = wanted.get(key) if isinstance(wanted, Mapping) else wanted
    if not isinstance(items, list | tuple):
        raise ValueError(f"the expected output is no list and has none under {key!r}")
    return list(items)


def found_items(output: Any, key: str) -> list[Any]:
    """The list that a model gave, as ``wanted_items``; ``[Wrong]`` where there is none."""
    items = output.get(key) if isinstance(output, Mapping) else output
    return list(items) if isinstance(items, list | tuple) else [Wrong]


def text_of(value: Any) -> str:
    """A text as it is; a list as its items, one a line."""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def source_text(input: Mapping[str, Any], name: str) -> str:
    """The text of an input; raises ValueError where the example has none of that name."""
    if name not in input:
        raise ValueError(f"the example has no input {name!r} to measure the answer against")
    return text_of(input[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Counts of one answer. ``right`` is at most the smaller of the two others; a half counts what is right in part.

    Where one side is empty, precision, recall and F1 are 0; where both are, 1: nothing was wanted, and nothing said.

    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """

    right: float
    n_found: int
    n_wanted: int

    @property
    def precision(self) -> float:
        """Share in [0, 1] of what was found that is right."""
        return self._share(self.n_found)

    @property
    def recall(self) -> float:
        """Share in [0, 1] of what was wanted that was found."""
        return self._share(self.n_wanted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        both = self.n_found + self.n_wanted
        return 2 * self.right / both if both else 1.0

    def _share(self, n: int) -> float:
        return self.right / n if n else float(self.n_found == self.n_wanted)


def overlap_of(wanted: Iterable[Hashable], output: Iterable[Hashable]) -> Overlap:
    """The overlap of two multisets: an item on both sides counts as often as on the side that has fewer of it."""
    expected, answered = Counter(wanted), Counter(output)
    return Overlap(right=(expected & answered).total(), n_found=answered.total(), n_wanted=expected.total())
