"""Features of a request's text from which the confidence of its answer is predicted before any call."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from optimizer.core.base.word_lists import (
    COMMANDS,
    COMPARISONS,
    CONNECTIVES,
    CONSTRAINTS,
    NAME_WITHIN,
    NEGATIONS,
    NUMBER,
    SENTENCE_END,
    STOP,
    VAGUE,
    WORD,
    YES_OR_NO,
)

# A longer request is judged by its beginning and by its length, so that no text takes more than a moment.
READ_CHARS = 2_000
_CODE = re.compile(
    r"```|`[^`\n]+`|[{};]["
    r" \t]*$|\b(?:def|class|return|import|function|SELECT|const|var)\b[^.\n]{0,60}[(:={]|=>|==|!=|\w\(\w*\)",
    re.M,
)
_MATH = re.compile(r"[=+*/^<>≤≥√∑∫±×÷%$]|\\[a-z]+")
_CHOICE = re.compile(r"^[ \t]*\(?[A-Ha-h1-9][.):][ \t]+\S", re.M)
_QUOTED = re.compile(r"[\"“][^\"”]{2,80}[\"”]|(?<!\w)'[^'\n]{2,80}'(?!\w)")
_ENUMERATED = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+", re.M)
_QUESTION_WORDS = {
    "how": frozenset({"how"}),
    "why": frozenset({"why"}),
    "what": frozenset({"what", "what's", "which"}),
    "fact": frozenset({"who", "who's", "whose", "when", "where"}),
}

FEATURES: Sequence[str] = (
    "request.log_words",
    "request.log_chars",
    "request.log_sentences",
    "request.words_per_sentence",
    "request.chars_per_word",
    "request.log_lines",
    "request.question_marks",
    "request.how",
    "request.why",
    "request.what",
    "request.fact",
    "request.yes_or_no",
    "request.command",
    "request.specificity",
    "request.ambiguity",
    "request.log_numbers",
    "request.digit_share",
    "request.code",
    "request.mathematics",
    "request.log_choices",
    "request.parts",
    "request.negation",
    "request.constraints",
    "request.comparison",
    "request.connectives",
    "request.names",
    "request.quoted",
    "request.long_words",
    "request.distinct_words",
    "request.upper_share",
    "request.other_letters",
)


def request_features(text: str) -> dict[str, float]:
    """Every name of FEATURES with its number, all finite; an empty text has its features too.

    At most the first 2,000 characters are read.

    Shares lie in [0, 1]; ``log_`` is ln(1 + count). ``specificity``: share of words that are names, numbers or longer
    than eight letters. ``ambiguity``: share of words that point at something unsaid (it, this, thing, some). ``parts``:
    how many things are asked at once.
    """
    read = text[:READ_CHARS]
    spelled = WORD.findall(read)
    words = [word.lower() for word in spelled]
    n = max(1, len(words))
    n_chars = max(1, len(read))
    n_sentences = max(1, len(SENTENCE_END.findall(read)))
    numbers = NUMBER.findall(read)
    names = len(NAME_WITHIN.findall(read))
    distinct = set(words)
    n_long = sum(len(word) > 8 for word in words)
    first = words[0] if words else ""
    n_parts = read.count("?") + len(_ENUMERATED.findall(read)) + sum(word in COMMANDS for word in words[:1])
    values = (
        math.log1p(len(words) * len(text) / n_chars),
        math.log1p(len(text)),
        math.log1p(n_sentences),
        min(len(words) / n_sentences, 100.0),
        sum(map(len, words)) / n,
        math.log1p(read.count("\n")),
        float(min(read.count("?"), 10)),
        *(float(not distinct.isdisjoint(question_words)) for question_words in _QUESTION_WORDS.values()),
        float(first in YES_OR_NO),
        float(first in COMMANDS),
        min(1.0, (n_long + names + len(numbers)) / (n + len(numbers))),
        _share(words, VAGUE),
        math.log1p(len(numbers)),
        sum(map(len, numbers)) / n_chars,
        float(bool(_CODE.search(read))),
        min(1.0, len(_MATH.findall(read)) / n),
        math.log1p(len(_CHOICE.findall(read))),
        float(min(n_parts, 20)),
        _share(words, NEGATIONS),
        _share(words, CONSTRAINTS),
        _share(words, COMPARISONS),
        _share(words, CONNECTIVES),
        names / n,
        math.log1p(len(_QUOTED.findall(read))),
        n_long / n,
        len(distinct - STOP) / n,
        sum(word.isupper() and len(word) > 1 for word in spelled) / n,
        0.0 if read.isascii() else len(read.encode("utf-8", "ignore")) / n_chars - 1.0,
    )
    return dict(zip(FEATURES, values, strict=True))


def _share(words: Sequence[str], of: frozenset[str]) -> float:
    return sum(word in of for word in words) / max(1, len(words))
