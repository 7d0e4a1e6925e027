"""Finds a person's data in rows without a unit: by the names of the person's rows, and by digests of words in a row.

Two strengths, by what a mistake costs. A prompt that serves *quotes* a person where it holds eight words in a row of
what that person wrote. A log or a journal also *shows* a person by a whole shorter text, a model's answer to them, or
the name of a row.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from optimizer.core.evaluation.metrics.words import words

WINDOW = 8  # words in a row, as in core/search/leaks.py
LEAST_WORDS, LEAST_CHARS = 3, 12  # of a whole short request, either: "yes" stands everywhere
LEAST_NAME = 6  # characters of a row's name that is looked for within a text; shorter ones have to be all of it
GONE = "(forgotten)"
_NAMES_IN = re.compile(r"[^\s\"'<>,;()\[\]{}=&?/\\]+")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


Words = tuple[int, bytes]  # how many, and their digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalTraces:
    """Holds digests and names, and no text.

    Args:
        unit: the person's HMAC.
        older: the same under unit keys that were in use before.
        names: of their rows, and of their unit in other forms.
        quotes: digests of every eight words in a row that they wrote.
        rows: the same of what is said about them beside it, such as answers of a model.
        short: of each request without eight words in a row, digests of all that it says: a text that holds all of one
            request's is about that.
    """

    unit: str
    older: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    quotes: frozenset[bytes] = frozenset()
    rows: frozenset[bytes] = frozenset()
    short: frozenset[frozenset[Words]] = frozenset()

    @property
    def units(self) -> tuple[str, ...]:
        return self.unit, *self.older

    @classmethod
    def of(
        cls,
        unit: str,
        *,
        names: Iterable[str] = (),
        requests: Iterable[Sequence[str]] = (),
        corrections: Iterable[str] = (),
        others: Iterable[str] = (),
    ) -> PersonalTraces:
        """Args: requests: of each the texts; corrections: written by the person, too; others: said about them."""
        quotes, short = set[bytes](), set[frozenset[Words]]()
        for texts in requests:
            said = [(_words(text), len(text)) for text in texts]
            windows = {window for text_words, _ in said for window in _windows(text_words, WINDOW)}
            n_words, n_chars = sum(len(text_words) for text_words, _ in said), sum(chars for _, chars in said)
            if not windows and n_words and (n_words >= LEAST_WORDS or n_chars >= LEAST_CHARS):
                short.add(
                    frozenset(
                        (len(text_words), window)
                        for text_words, _ in said
                        if text_words
                        for window in _windows(text_words, len(text_words))
                    )
                )
            quotes |= windows
        quotes |= _all_windows(corrections)
        return cls(
            unit=unit,
            names=frozenset({unit, *names}),
            quotes=frozenset(quotes),
            rows=frozenset(quotes | _all_windows(others)),
            short=frozenset(short),
        )

    def joined(self, other: PersonalTraces) -> PersonalTraces:
        """Of the same person, what either knows."""
        return PersonalTraces(
            unit=self.unit,
            older=tuple(dict.fromkeys(unit for unit in (*self.units, *other.units) if unit != self.unit)),
            names=self.names | other.names,
            quotes=self.quotes | other.quotes,
            rows=self.rows | other.rows,
            short=self.short | other.short,
        )

    def without_quotes_of(self, texts: Iterable[str]) -> PersonalTraces:
        """What these texts say word for word counts as theirs, and not as the person's."""
        own = _all_windows(texts)
        return replace(self, quotes=self.quotes - own, rows=self.rows - own)

    def are_quoted_in(self, text: str) -> bool:
        """Whether the text holds eight words in a row that the person wrote."""
        return bool(self.quotes) and any(window in self.quotes for window in _windows(_words(text), WINDOW))

    def are_shown_in(self, text: str) -> bool:
        """Whether it names a row of the person's, or says what they wrote or were answered."""
        if self.are_named_in(text):
            return True
        if not (self.rows or self.short):
            return False
        text_words = _words(text)
        if self.rows and any(window in self.rows for window in _windows(text_words, WINDOW)):
            return True
        lengths = {n for words_of in self.short for n, _ in words_of}
        there = {(n, window) for n in lengths for window in _windows(text_words, n)}
        return any(words_of <= there for words_of in self.short if not words_of.isdisjoint(there))

    def are_named_in(self, text: str) -> bool:
        return text in self.names or any(
            len(name) >= LEAST_NAME and name in self.names
            for match in _NAMES_IN.findall(text)
            for name in (match, match.rstrip(".:"))
        )

    def alias(self, name: str) -> str:
        """What stands in the place of a name, so that rows which shared it still do; the same at each repetition."""
        key = self.unit.encode()[:64]  # blake2b takes no more
        return "fg_" + blake2b(name.encode(errors="surrogatepass"), digest_size=8, key=key).hexdigest()

    def without(self, value: Any, *, shows: Callable[[str], bool]) -> Any:
        """A value of JSON whose texts that name or show the person are others: a name its alias, another text GONE."""
        if isinstance(value, str):
            if value in self.names:
                return self.alias(value)
            return GONE if shows(value) else value
        if isinstance(value, Mapping):
            return {
                self.alias(key) if key in self.names else key: self.without(item, shows=shows)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.without(item, shows=shows) for item in value]
        return value

    def dumped(self) -> bytes:
        """For a file that a repetition reads."""
        short = sorted(sorted([n, digest.hex()] for n, digest in words_of) for words_of in self.short)
        members = {
            "unit": self.unit,
            "names": sorted(self.names),
            "quotes": sorted(digest.hex() for digest in self.quotes),
            "rows": sorted(digest.hex() for digest in self.rows),
        }
        return json.dumps({**members, "short": short, "older": self.older}).encode()

    @classmethod
    def loaded(cls, content: bytes) -> PersonalTraces:
        """Raises ValueError where it is not what ``dumped`` gave."""
        try:
            read = json.loads(content)
            return cls(
                unit=read["unit"],
                older=tuple(read.get("older", ())),
                names=frozenset(read["names"]),
                quotes=frozenset(map(bytes.fromhex, read["quotes"])),
                rows=frozenset(map(bytes.fromhex, read["rows"])),
                short=frozenset(
                    frozenset((n, bytes.fromhex(digest)) for n, digest in words_of) for words_of in read["short"]
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"these are no traces: {error!r}") from error


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a value of JSON; names of members are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


def unescaped(text: str) -> str:
    """What a line of JSON, of HTML or of both says to a reader: escapes as what they stand for."""
    return html.unescape(_ESCAPED.sub(_character, text))


def _character(escape: re.Match[str]) -> str:
    if escape[1] is not None:
        return chr(int(escape[1], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}.get(escape[2], escape[2])


def _words(text: str) -> list[str]:
    return words(text if text.isascii() else "".join(c for c in text if unicodedata.category(c) != "Cf"))


def _windows(text_words: Sequence[str], n: int) -> Iterator[bytes]:
    for start in range(len(text_words) - n + 1):
        yield blake2b("\x1f".join(text_words[start : start + n]).encode(errors="surrogatepass"), digest_size=8).digest()


def _all_windows(texts: Iterable[str]) -> set[bytes]:
    return {window for text in texts for window in _windows(_words(text), WINDOW)}
