"""Names and numbers that an answer says and its sources do not: a measure of invention that needs no model.

It sees what the sources do not write, not what they mean otherwise; a name in other words counts as unsupported.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import regex

from optimizer.core.evaluation.metrics.coverage import FUNCTION_WORDS
from optimizer.core.evaluation.metrics.words import (
    Wrong,
    found_items,
    source_text,
    stands_in,
    text_of,
    words,
)
from optimizer.core.family.metrics import metric

Sources = Sequence[str] | None
LEAST_INITIALS = 3  # two letters are the initials of some words of almost every text
_LETTER = regex.compile(r"\p{L}")  # of any script
_SENTENCE = regex.compile(r"[^.!?…\n]+(?:[.!?…](?!\s|$)[^.!?…\n]*)*")
_NAME = regex.compile(r"[\p{Lu}\p{Lt}][\p{L}\p{M}\p{N}]*(?:['’\-. ]{1,2}[\p{Lu}\p{Lt}][\p{L}\p{M}\p{N}]*)*")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_CASED = regex.compile(r"[\p{Lu}\p{Ll}\p{Lt}]")
_NUMBER = regex.compile(r"(?<![\p{L}\d.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SAID: Mapping[str, int] = {
    **{word: value for value, word in enumerate([*_UNITS, *_TEENS])},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    "hundred": 100,
    "thousand": 1000,
    "million": 1_000_000,
}


@metric(sees="input", parsers=("text", "list", "json"), parameters={"sources": "inputs", "key": "text"})
def supported_entities(
    wanted: Any,
    output: Any,
    inputs: Mapping[str, Any],
    *,
    sources: Sources = None,
    key: str = "entities",
) -> float:
    """Share in [0, 1] of the answer's names all of whose words stand in the sources; 1 where it says no name.

    A name of a text is a run of words with capitals, less function words and less the first word of a sentence, which
    has always a capital, unless it has another one or a digit. Singular and plural are one, and three capitals or more
    (CNN) may abbreviate words that follow one another in the sources. Of a list or an object each item's text is a
    name, and has to stand in the sources word after word. Each mention counts. Made for languages that write names, and
    only names, with capitals.

    Args:
        sources: the inputs that may support it; None: all.
        key: where an object has its list of ``{"text"}``.
    Raises:
        ValueError: a text in a script without capitals, in which names cannot be told; a source that the example has
            not.
    Source:
        entity precision against the source of Nan et al. (2021), arXiv:2102.09130, with capitals in place of a tagger.
    """
    source = words(_joined(inputs, sources))
    if isinstance(output, str):
        known, initials = set(source), "".join(word[0] for word in source)
        return _share([all(_is_said(word, known, initials) for word in name) for name in names_in(output)])
    return _share([item is not Wrong and _stands(item, source) for item in found_items(output, key)])


def _is_said(word: str, known: set[str], initials: str) -> bool:
    """Whether the sources have the word, in singular or plural, or the words in a row that it abbreviates."""
    singular = word.removesuffix("s")
    if any(known.issuperset(words(form)) for form in (word, singular, f"{word}s")):
        return True
    return len(singular) >= LEAST_INITIALS and singular.isupper() and singular.casefold() in initials


def _stands(item: Any, source: list[str]) -> bool:
    mention = words(str(item.get("text", "") if isinstance(item, Mapping) else item))
    return bool(mention) and stands_in(mention, source)


def names_in(text: str) -> Iterator[list[str]]:
    """The words of each name that a text says; see ``supported_entities``."""
    text = unicodedata.normalize("NFKC", text)
    if _LETTER.search(text) is not None and _CASED.search(text) is None:
        raise ValueError("the text is in a script without capitals, in which names cannot be told without a model")
    for sentence in _SENTENCE.findall(text):
        first = _WORD.search(sentence)
        if first is None:
            continue
        telling = any(char.isupper() or char.isdigit() for char in first.group()[1:])
        for run in _NAME.finditer(sentence, first.start() if telling else first.end()):
            words = _WORD.findall(run.group())
            name = [word for word in words if word.casefold() not in FUNCTION_WORDS and word != "s"]
            if name:
                yield name


@metric(sees="input", parsers=("text",), parameters={"sources": "inputs"})
def supported_numbers(wanted: Any, output: Any, inputs: Mapping[str, Any], *, sources: Sources = None) -> float:
    """Share in [0, 1] of the numbers in digits of an answer that a source has too; 1 where it says none.

    Numbers are compared by value: 1,500 is 1500 and 2.50 is 2.5; a source may say up to ninety-nine, hundred,
    thousand or million in English words. A rounded number is another number; digits after a letter (T4) are a name.

    Args:
        sources: the inputs that may support it; None: all.
    Raises:
        ValueError: a source that the example has not.
    Source:
        quantity hallucination of Zhao et al. (2020), HERMAN, arXiv:2009.13312, without its learned verifier.
    """
    source = _joined(inputs, sources)
    known = set(numbers_in(source)) | set(_said_numbers(source))
    return _share([number in known for number in numbers_in(text_of(output))])


def numbers_in(text: str) -> list[Decimal]:
    """The numbers that a text says in digits, with a decimal point and commas between thousands."""
    return [Decimal(number.replace(",", "")) for number in _NUMBER.findall(unicodedata.normalize("NFKC", text))]


def _said_numbers(text: str) -> Iterator[Decimal]:
    before = 0
    for word in words(text):
        value = _SAID.get(word, 0)
        if word in _SAID:
            yield Decimal(value)
            if 20 <= before <= 90 and 1 <= value <= 9:
                yield Decimal(before + value)
        before = value


def _joined(inputs: Mapping[str, Any], sources: Sequence[str] | None) -> str:
    texts = [source_text(inputs, name) for name in (inputs if sources is None else sources)]
    if not texts:
        raise ValueError("the example has no input that could support the answer")
    return "\n".join(texts)


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else 1.0
