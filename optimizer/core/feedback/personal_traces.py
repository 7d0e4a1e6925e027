"""Finds a person's data in rows without a unit: by the names of the person's rows, and by digests of words in a row.

Two strengths, by what a mistake costs. A prompt that serves *quotes* a person where it holds eight words in a row of
what that person wrote, or the whole of a shorter request that says enough to be one person's. A log or a journal also
*shows* a person by a whole request that others may have sent, too, a model's answer to them, or the name of a row.
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

from optimizer.core.base.canonical import texts_in
from optimizer.core.evaluation.metrics.words import words

WINDOW = 8  # words in a row, as in core/search/leaks.py
LEAST_WORDS, LEAST_CHARS = 3, 12  # of a whole short request, either: "yes" stands everywhere
OWN_WORDS = 4  # of one that is the person's own, with that many characters
LEAST_NAME = 6  # characters of a row's name that is looked for within a text; shorter ones have to be all of it
GONE = "(forgotten)"
_NAMES_IN = re.compile(r"[^\s\"'<>,;()\[\]{}=&?/\\]+")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


Words = tuple[int, bytes]  # how many, and their digest
RowName = tuple[str, str]  # family and id


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalTraces:
    """Holds digests and names, and no text.

    Args:
        unit: the person's HMAC.
        older: the same under unit keys that were in use before.
        names: of their rows, and of their unit in other forms, as far as a text that holds one is about the person.
        examples: of them every one, whatever its id looks like: a field that holds an example's id is compared whole.
        interactions: the same of what they asked.
        quotes: digests of every eight words in a row that they wrote.
        rows: the same of what is said about them beside it, such as answers of a model.
        requests: of each request without eight words in a row that says enough to be one person's, digests of all that
            it says: a text that holds all of one request's quotes that.
        short: the same of those that others may have sent, too: "yes please" in a prompt need not be the person's.
    """

    unit: str
    older: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    examples: frozenset[RowName] = frozenset()
    interactions: frozenset[RowName] = frozenset()
    quotes: frozenset[bytes] = frozenset()
    rows: frozenset[bytes] = frozenset()
    requests: frozenset[frozenset[Words]] = frozenset()
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
        examples: Iterable[RowName] = (),
        interactions: Iterable[RowName] = (),
        requests: Iterable[Sequence[str]] = (),
        corrections: Iterable[str] = (),
        others: Iterable[str] = (),
    ) -> PersonalTraces:
        """Args: requests: of each the texts; corrections: written by the person, too; others: said about them."""
        quotes, own, short = set[bytes](), set[frozenset[Words]](), set[frozenset[Words]]()
        for texts in requests:
            if windows := _all_windows(texts):
                quotes |= windows
                continue
            telling = [text for text in texts if _says_something(text) or _holds_a_name(text)]
            said = telling or texts  # without "en" beside a question
            if _is_own(said):
                own.add(_whole(said))
            elif _says_something(" ".join(said)):
                short.add(_whole(said))
        corrections = list(corrections)
        quotes |= _all_windows(corrections)
        own |= {_whole([text]) for text in corrections if _holds_a_name(text) and _is_own([text], by_name=False)}
        return cls(
            unit=unit,
            names=frozenset({unit, *names}),
            examples=frozenset(examples),
            interactions=frozenset(interactions),
            quotes=frozenset(quotes),
            rows=frozenset(quotes | _all_windows(others)),
            requests=frozenset(own),
            short=frozenset(short),
        )

    def joined(self, other: PersonalTraces) -> PersonalTraces:
        """Of the same person, what either knows."""
        return PersonalTraces(
            unit=self.unit,
            older=tuple(dict.fromkeys(unit for unit in (*self.units, *other.units) if unit != self.unit)),
            names=self.names | other.names,
            examples=self.examples | other.examples,
            interactions=self.interactions | other.interactions,
            quotes=self.quotes | other.quotes,
            rows=self.rows | other.rows,
            requests=self.requests | other.requests,
            short=self.short | other.short,
        )

    def without_quotes_of(self, texts: Iterable[str]) -> PersonalTraces:
        """What these texts say word for word counts as theirs, and not as the person's."""
        texts = list(texts)
        own = _all_windows(texts)
        requests, short = self.requests, self.short
        for text in texts:
            text_words = _words(text)
            requests -= _said_whole(text_words, requests)
            short -= _said_whole(text_words, short)
        return replace(self, quotes=self.quotes - own, rows=self.rows - own, requests=requests, short=short)

    @property
    def doubtful(self) -> PersonalTraces:
        """What holds a request of the person's that others may have sent as well quotes these."""
        return PersonalTraces(unit=self.unit, requests=self.short)

    def are_quoted_in(self, text: str) -> bool:
        """Whether the text holds eight words in a row that the person wrote, or a whole request of their own."""
        if not (self.quotes or self.requests):
            return False
        text_words = _words(text)
        return _holds_any(text_words, self.quotes) or bool(_said_whole(text_words, self.requests))

    def are_shown_in(self, text: str) -> bool:
        """Whether it names a row of the person's, or says what they wrote or were answered."""
        if self.are_named_in(text):
            return True
        if not (self.rows or self.requests or self.short):
            return False
        text_words = _words(text)
        return _holds_any(text_words, self.rows) or any(
            _said_whole(text_words, requests) for requests in (self.requests, self.short)
        )

    def are_named_in(self, text: str) -> bool:
        return text in self.names or any(
            len(name) >= LEAST_NAME and name in self.names
            for match in _NAMES_IN.findall(text)
            for name in (match, match.rstrip(".:"))
        )

    def is_example(self, family: str, id: str) -> bool:
        """Whether it is one of theirs; the id of a row of theirs that nothing else has is one in any family."""
        return (family, id) in self.examples or id in self.names

    def alias(self, name: str) -> str:
        """What stands in the place of a name, so that rows which shared it still do; the same at each repetition."""
        key = self.unit.encode()[:64]  # blake2b takes no more
        return "fg_" + blake2b(name.encode(errors="surrogatepass"), digest_size=8, key=key).hexdigest()

    def without(self, value: Any, *, shows: Callable[[str], bool]) -> Any:
        """A value of JSON whose texts that name or show the person are others: a name its alias, another text GONE.
        Where several texts show them together, those of the least part that holds them are GONE.
        """
        if isinstance(value, str):
            if value in self.names:
                return self.alias(value)
            return GONE if shows(value) else value
        if isinstance(value, Mapping):
            left: Any = {
                self.alias(key) if key in self.names else key: self.without(item, shows=shows)
                for key, item in value.items()
            }
        elif isinstance(value, list | tuple):
            left = [self.without(item, shows=shows) for item in value]
        else:
            return value
        return _emptied(left) if shows("\n".join(texts_in(left))) else left

    def dumped(self) -> bytes:
        """For a file that a repetition reads."""
        members: dict[str, Any] = {
            "unit": self.unit,
            "names": sorted(self.names),
            "examples": sorted(self.examples),
            "interactions": sorted(self.interactions),
            "quotes": sorted(digest.hex() for digest in self.quotes),
            "rows": sorted(digest.hex() for digest in self.rows),
        }
        for name, requests in (("requests", self.requests), ("short", self.short)):
            members[name] = sorted(sorted([n, digest.hex()] for n, digest in words_of) for words_of in requests)
        return json.dumps({**members, "older": self.older}).encode()

    @classmethod
    def loaded(cls, content: bytes) -> PersonalTraces:
        """Raises ValueError where it is not what ``dumped`` gave."""
        try:
            read = json.loads(content)
            return cls(
                unit=read["unit"],
                older=tuple(read.get("older", ())),
                names=frozenset(read["names"]),
                examples=frozenset((family, id) for family, id in read.get("examples", ())),
                interactions=frozenset((family, id) for family, id in read.get("interactions", ())),
                quotes=frozenset(map(bytes.fromhex, read["quotes"])),
                rows=frozenset(map(bytes.fromhex, read["rows"])),
                requests=_requests_of(read.get("requests", ())),
                short=_requests_of(read["short"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"these are no traces: {error!r}") from error


def _emptied(value: Any) -> Any:
    """A value of JSON of the same form, without a text."""
    if isinstance(value, Mapping):
        return {key: _emptied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_emptied(item) for item in value]
    return GONE if isinstance(value, str) else value


def unescaped(text: str) -> str:
    """What a line of JSON, of HTML or of both says to a reader: escapes as what they stand for."""
    characters = html.unescape(_ESCAPED.sub(_character, text))
    return characters.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins the halves of a pair


def _character(escape: re.Match[str]) -> str:
    if escape[1] is not None:
        return chr(int(escape[1], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}.get(escape[2], escape[2])


def is_name(word: str) -> bool:
    """Whether it names one thing wherever it stands: a word such as "billing", or "1", may stand for anything."""
    return len(word) >= LEAST_NAME and any(character.isdigit() for character in word)


def _holds_a_name(text: str) -> bool:
    return any(map(is_name, _words(text)))


def _says_something(text: str) -> bool:
    n_words = len(_words(text))
    return n_words >= LEAST_WORDS or (n_words > 0 and len(text) >= LEAST_CHARS)


def _is_own(texts: Sequence[str], *, by_name: bool = True) -> bool:
    """Whether a short request says enough to be one person's. ``by_name``: one that names something does."""
    is_long = sum(len(_words(text)) for text in texts) >= OWN_WORDS and sum(map(len, texts)) >= LEAST_CHARS
    return is_long or (by_name and any(map(_holds_a_name, texts)))


def _words(text: str) -> list[str]:
    return words(text if text.isascii() else "".join(c for c in text if unicodedata.category(c) != "Cf"))


def _windows(text_words: Sequence[str], n: int) -> Iterator[bytes]:
    for start in range(len(text_words) - n + 1):
        yield blake2b("\x1f".join(text_words[start : start + n]).encode(errors="surrogatepass"), digest_size=8).digest()


def _whole(texts: Iterable[str]) -> frozenset[Words]:
    """Of each text that has words all of them."""
    said = [text_words for text in texts if (text_words := _words(text))]
    return frozenset((len(text_words), next(_windows(text_words, len(text_words)))) for text_words in said)


def _holds_any(text_words: Sequence[str], digests: frozenset[bytes]) -> bool:
    return bool(digests) and any(window in digests for window in _windows(text_words, WINDOW))


def _said_whole(text_words: Sequence[str], requests: frozenset[frozenset[Words]]) -> frozenset[frozenset[Words]]:
    """Those of which the text says everything."""
    lengths = {n for words_of in requests for n, _ in words_of}
    there = {(n, window) for n in lengths for window in _windows(text_words, n)}
    of_one_text = requests & {frozenset((words_of,)) for words_of in there}  # nearly all; one person may have thousands
    return of_one_text | {words_of for words_of in requests if len(words_of) > 1 and words_of <= there}


def _requests_of(read: Iterable[Iterable[Any]]) -> frozenset[frozenset[Words]]:
    return frozenset(frozenset((n, bytes.fromhex(digest)) for n, digest in words_of) for words_of in read)


def _all_windows(texts: Iterable[str]) -> set[bytes]:
    return {window for text in texts for window in _windows(_words(text), WINDOW)}
