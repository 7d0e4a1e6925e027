"""The issue ``factual_errors``, found without a model: numbers and names that an answer says and its material does not.

It says nothing of meaning: a wrong claim in the material's own words is not found, and a sum that the answer computed
counts as an error.
"""

from __future__ import annotations

import re
from decimal import Decimal

from optimizer.core.evaluation.scorers.support import names_in, numbers_in, supported_numbers
from optimizer.core.evaluation.scorers.words import words
from optimizer.core.policy.answer_checks import MATERIAL_WORDS, READ_CHARS, CheckedAnswer, holds_facts

LARGEST_COUNT = 10  # smaller numbers count the answer's own parts
_MARKER = re.compile(r"^[ \t]*\(?\d{1,3}[.)][ \t]+", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s*$")


def factual_errors(answered: CheckedAnswer) -> bool:
    """Whether a text says a number above ten, or a name of two words or more, of which its material has nothing.

    Material are tools' results that tell something and inputs of 25 words or more; without them there is nothing to
    compare with, and no issue. A number of the material may be rounded to a whole one. Lines that end as no sentence
    does, such as headings, are not searched for names.
    """
    results = [text[:READ_CHARS] for _, text in answered.tool_results if holds_facts(text)]
    if answered.output.parser != "text":
        return False
    if not results and not any(len(text.split()) >= MATERIAL_WORDS for text in answered.inputs):
        return False
    source = "\n".join([*results, *answered.inputs])
    return _has_other_numbers(answered.text, source) or _has_other_names(answered.text, source)


def _has_other_numbers(text: str, source: str) -> bool:
    rounded = {round(number) for number in numbers_in(source)}
    numbers = [n for n in numbers_in(_MARKER.sub("", text)) if n > LARGEST_COUNT and n not in rounded]
    return any(supported_numbers(None, _plain(number), {"source": source}) < 1 for number in numbers)


def _plain(number: Decimal) -> str:
    return format(number, "f")


def _has_other_names(text: str, source: str) -> bool:
    known = set(words(source))
    sentences = [line for line in text.splitlines() if _SENTENCE_END.search(line)]
    try:
        names = [name for line in sentences for name in names_in(line)]
    except ValueError:  # a script without capitals
        return False
    return any(len(name) > 1 and known.isdisjoint(form for word in name for form in words(word)) for name in names)
