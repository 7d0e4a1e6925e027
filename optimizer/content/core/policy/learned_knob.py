"""The knob ``score: {kind: learned, types: {TYPE: {predictor, full_from}}}`` of a content pipeline.

One predictor for each content type, since quality means something else in each, and its threshold for full processing.
It is learned from statistics of a text and its title: English; a number each, all finite.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import is_number
from optimizer.core.base.word_lists import (
    BLAME,
    CONNECTIVES,
    FILLERS,
    FIRST_PERSON,
    HEDGES,
    MODALS,
    NAME_WITHIN,
    NUMBER,
    PRAISE,
    SECOND_PERSON,
    SENTENCE_END,
    STOP,
    WORD,
)
from optimizer.core.predictor.predictor import Predictor

READ_CHARS = 20_000
_VOWELS = re.compile(r"[aeiouy]+")
_NOUN_ENDINGS = ("tion", "ment", "ness", "ity", "ism", "ance", "ence")
_RATES = {
    "connectives": CONNECTIVES,
    "hedges": HEDGES,
    "stop_words": STOP,
    "first_person": FIRST_PERSON,
    "second_person": SECOND_PERSON,
    "modals": MODALS,
    "praise": PRAISE,
    "blame": BLAME,
    "fillers": FILLERS,
}
_PER_WORD = {"commas": ",", "brackets": "(", "quotes": '"', "apostrophes": "'", "dashes": "-"}
_PER_WORD_FOUND = {
    "spaced_punctuation": re.compile(r"\s[,.!?]"),
    "crammed_punctuation": re.compile(r"[,.!?][A-Za-z]"),
    "doubled_punctuation": re.compile(r"[!?.]{2,}"),
    "names": NAME_WITHIN,
}
_UPPER, _PUNCTUATION = re.compile(r"[A-Z]"), re.compile(r"[.,;:!?]")


def text_statistics(text: str, title: str = "") -> dict[str, float]:
    """About sixty numbers by name: ``text.…`` of the text, ``title.…`` of the title and how the text keeps to it.

    20,000 characters are read.
    """
    read = text[:READ_CHARS]
    words = [word.lower() for word in WORD.findall(read)]
    sentences = [part for part in SENTENCE_END.split(read) if part.strip()]
    in_each = [WORD.findall(sentence) for sentence in sentences]
    lengths = [len(each) for each in in_each] or [0]
    mean = sum(lengths) / len(lengths)
    content = [{word.lower() for word in each} - STOP for each in in_each]
    shared = [len(a & b) / max(1, min(len(a), len(b))) for a, b in itertools.pairwise(content)]
    statistics = {
        **{
            "log_words": math.log1p(len(words)),
            "log_chars": math.log1p(len(read)),
            "log_sentences": math.log1p(len(sentences)),
            "sentence_mean": mean,
            "sentence_deviation": math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths)),
            "sentence_max": float(max(lengths)),
            "log_paragraphs": math.log1p(sum(bool(line.strip()) for line in read.split("\n"))),
            "sentence_overlap": sum(shared) / len(shared) if shared else 0.0,
        },
        **_choice_of_words(words),
        **_typing(read, words, sentences),
    }
    return {f"text.{name}": value for name, value in statistics.items()} | _title(title, words)


def _choice_of_words(words: Sequence[str]) -> dict[str, float]:
    n, counts = max(1, len(words)), Counter(words)
    syllables = sum(count * max(1, len(_VOWELS.findall(word))) for word, count in counts.items())
    content = {word: count for word, count in counts.items() if word not in STOP}
    rates = {name: sum(count for word, count in counts.items() if word in chosen) for name, chosen in _RATES.items()}
    return {
        "distinct_share": len(counts) / n,
        "distinct_root": len(counts) / math.sqrt(n),
        "log_distinct": math.log1p(len(counts)),
        "log_content": math.log1p(sum(len(word) >= 4 for word in content)),
        "once_share": sum(count == 1 for count in counts.values()) / n,
        "repeated": max(content.values(), default=0) / n,
        "word_length": sum(map(len, words)) / n,
        "long_words": sum(len(word) >= 7 for word in words) / n,
        "syllables": syllables / n,
        "abstract_nouns": sum(word.endswith(_NOUN_ENDINGS) for word in words) / n,
        "log_connectives": math.log1p(rates["connectives"]),
        "log_first_person": math.log1p(rates["first_person"]),
        **{name: count / n for name, count in rates.items()},
    }


def _typing(text: str, words: Sequence[str], sentences: Sequence[str]) -> dict[str, float]:
    n, n_chars, n_sentences = max(1, len(words)), max(1, len(text)), max(1, len(sentences))
    lower, tokens, numbers = text.lower(), text.split(), NUMBER.findall(text)
    counts = {name: len(pattern.findall(text)) for name, pattern in _PER_WORD_FOUND.items()}
    return {
        "digits": sum(map(len, numbers)) / n_chars,
        "log_numbers": math.log1p(len(numbers)),
        "log_names": math.log1p(counts["names"]),
        "upper": len(_UPPER.findall(text)) / n_chars,
        "shouted": sum(token.isupper() and len(token) > 1 for token in tokens) / n,
        "small_i": tokens.count("i") / n,
        "small_starts": sum(sentence.strip()[:1].islower() for sentence in sentences) / n_sentences,
        "punctuation": len(_PUNCTUATION.findall(text)) / n_chars,
        "ends": float(text.rstrip()[-1:] in {".", "!", "?", '"'}),
        "questions": text.count("?") / n_sentences,
        "exclamations": text.count("!") / n_sentences,
        "trailing_dots": text.count("...") / n_sentences,
        "colons": (text.count(";") + text.count(":")) / n,
        "links": math.log1p(sum(lower.count(part) for part in ("http", "www.", ".com"))),
        "example": float(any(part in lower for part in ("example", "e.g", "for instance"))),
        **{name: text.count(mark) / n for name, mark in _PER_WORD.items()},
        **{name: count / n for name, count in counts.items()},
    }


def _title(title: str, words: Iterable[str]) -> dict[str, float]:
    lower = [word.lower() for word in WORD.findall(title)]
    title_words, text_words = set(lower) - STOP, set(words) - STOP
    shared = len(title_words & text_words)
    first = lower[0] if lower else ""
    return {
        "title.covered": shared / max(1, len(title_words)),
        "title.kept_to": shared / max(1, len(text_words)),
        "title.log_added": math.log1p(len(text_words - title_words)),
        "title.log_words": math.log1p(len(lower)),
        "title.question": float("?" in title),
        "title.how": float(first == "how"),
        "title.what": float(first == "what"),
        "title.why": float("why" in lower),
        "title.yes_or_no": float(first in {"is", "are", "does", "do", "can"}),
        "title.digits": sum(map(len, NUMBER.findall(title))) / max(1, len(title)),
    }


SCORE = "score"  # the knob
LEARNED = "learned"  # its kind
READ_BY_SCORE = ("title", "text")  # the fields of a record that it reads beside the content type
TEXT = "text"  # the name of the text that a predictor's grams read


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeScore:
    """``full_from``: the score from which on an item of the type is processed in full.

    Raising it saves more time and loses more good items.
    """

    predictor: Predictor
    full_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentScore:
    """Scores rank items within their type; scores of two types are not to be compared."""

    types: Mapping[str, TypeScore]

    @classmethod
    def from_data(cls, data: Any) -> ContentScore:
        """Reads ``{type: {"predictor": ..., "full_from": ...}}``. Raises InvalidInput with every fault of every
        predictor.
        """
        if not isinstance(data, Mapping) or not data:
            raise InvalidInput(
                "A content score is a mapping from content type to predictor and full_from, with at least one type;"
                " give one."
            )
        types, faults = {}, []
        for name, entry in data.items():
            if (
                not isinstance(entry, Mapping)
                or set(entry) != {"predictor", "full_from"}
                or not is_number(entry["full_from"])
            ):
                faults.append(
                    Fault(
                        pointer=pointer_of([name]),
                        detail="a predictor and full_from, a number, are needed; nothing else",
                    )
                )
                continue
            try:
                predictor = Predictor.from_data(entry["predictor"])
            except InvalidInput as error:
                place = pointer_of([name, "predictor"])
                faults += [Fault(pointer=place + fault.pointer, detail=fault.detail) for fault in error.faults]
                continue
            types[str(name)] = TypeScore(predictor=predictor, full_from=float(entry["full_from"]))
        if faults:
            raise InvalidInput(
                f"This content score cannot be used: {faults[0].pointer}: {faults[0].detail}. Mend the places named.",
                faults,
            )
        return cls(types=types)

    def score(self, content_type: str, text: str, title: str = "") -> float | None:
        """The score of one item; None for a type that was not trained: a score does not carry over to it."""
        known = self.types.get(content_type)
        return None if known is None else known.predictor.predict(*read_text(text, title))


def read_text(text: str, title: str = "") -> tuple[dict[str, float], dict[str, str]]:
    """What a predictor reads of an item, in training and in use: numbers by name, and the text's beginning."""
    beginning = text[:READ_CHARS]
    return text_statistics(beginning, title), {TEXT: beginning}


def read_score(value: Any, faults: list[Fault]) -> ContentScore | None:
    """The knob as a score; what is wrong goes to ``faults``, each at its place inside the knob."""
    at = pointer_of([SCORE])
    if not isinstance(value, Mapping) or value.get("kind") != LEARNED or set(value) - {"kind", "types"}:
        faults.append(Fault(pointer=at, detail="a score is {kind: learned, types: {TYPE: {predictor, full_from}}}"))
        return None
    if not value.get("types"):
        detail = (
            "a learned score that serves has types, each with predictor and full_from; a study trains it: detent study"
            " run FAMILY --keep-saved 0.65"
        )
        faults.append(Fault(pointer=at, detail=detail))
        return None
    try:
        return ContentScore.from_data(value["types"])
    except InvalidInput as error:
        own = error.faults or (Fault(pointer="", detail=error.detail),)
        faults += [replace(fault, pointer=f"{at}/types{fault.pointer}") for fault in own]
        return None
