"""Texts as words: in every script, without a list and without a model."""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Any

import regex

# scripts that put no space between words
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|(?:(?![{_UNSPACED}])[\p{{L}}\p{{N}}]\p{{M}}*)+")
_IN_UNSPACED = regex.compile(rf"[{_UNSPACED}]")
_LETTER = regex.compile(r"\p{L}")
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
    tokens: list[str] = _IN_UNSPACED.sub(r" \g<0> ", text).split()
    return tokens


def has_letters(text: str) -> bool:
    """Whether there is a letter of any script."""
    return _LETTER.search(text) is not None


def is_spaced(text: str) -> bool:
    """Whether words can be told by spaces: no letter of a script that has none between words."""
    return _IN_UNSPACED.search(text) is None


def stands_in(part: list[str], whole: list[str]) -> bool:
    """Whether the words follow one another somewhere in the others; no words stand everywhere."""
    n = len(part)
    return any(whole[i : i + n] == part for i in range(len(whole) - n + 1))
