"""Inputs that say nearly the same, such as a question asked twice with one word changed.

Two inputs are near-duplicates where each of their longer fields is nearly the other's: of the pairs of adjacent words
in either, at least ``ALIKE`` stand in both (Broder 1997, On the resemblance and containment of documents). Field by
field, so that a long text which every request brings along, such as a policy, makes none. A field of fewer than four
words has to be the same, since two of those look alike by chance; where all are so short, nothing is compared.

Among thousands they are found by bands of MinHash: of each of 96 hash functions the least value over a field's pairs,
four of them to a band. Two fields of resemblance J are equal in one with the chance J, so a near-duplicate shares none
of the 24 bands with a chance of at most 3e-6, and of a thousand texts of one template (J = .3) 180 are compared.

A library has the bands (datasketch). It loads numpy and scipy with its package, and examples are written by the api
process too, which answers every request and loads neither; what is needed of it are the dozen lines of ``bands_of``.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from optimizer.core.base.phrasing import count
from optimizer.core.base.values import grouped
from optimizer.core.dataset.examples import Example, Split, group_of, normalise, text_without_group

ALIKE = 0.8  # share of two fields' pairs of words, from which on they are nearly the same
SIMILAR = 0.5  # share from which on a person is asked whether rows are one case
LEAST_SHARE = 0.05  # from this share of such rows on, it matters that they are not independent
MOST_TEXTS = 2000  # texts that are compared with one another, so that it takes seconds at most
LEAST_WORDS = 4  # of a field that is compared
MOST_WORDS = 500  # of a field that are read
N_BANDS, BAND = 24, 4
# A letter of a script that is written without spaces is a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_LEAST = struct.Struct(f"<{N_BANDS * BAND}I")

# Name of a field > hashes (32 bits) of its pairs of adjacent words; of a field of fewer than four words, of its text.
Shingles = Mapping[str, frozenset[int]]


def shingles_of(input: Mapping[str, Any]) -> Shingles:
    """None where every field has fewer than four words. The same in every process and version."""
    shingles, is_comparable = {}, False
    for name in sorted(input):
        text = normalise(input[name])
        words = [match.group() for match in islice(_WORD.finditer(text), MOST_WORDS)]
        is_long = len(words) >= LEAST_WORDS
        shingles[name] = frozenset(map(_hash, pairwise(words))) if is_long else frozenset({_hash((text, ""))})
        is_comparable = is_comparable or is_long
    return shingles if is_comparable else {}


def are_near_duplicates(one: Shingles, other: Shingles, *, alike: float = ALIKE) -> bool:
    """Whether two inputs say nearly the same; False where neither has a field that can be compared."""
    if not one or one.keys() != other.keys():
        return False
    return all(len(own & other[name]) >= alike * len(own | other[name]) for name, own in one.items())


def firsts_of(rows: Sequence[Shingles], *, alike: float = ALIKE) -> list[int]:
    """For each row the place of the first row that it is a near-duplicate of and that is none itself; else its own.

    A row is compared with those that share one of its rarer pairs, as every row that is similar enough does (Bayardo,
    Ma, Srikant 2007, Scaling up all pairs similarity search).
    """
    joint = [frozenset((name, pair) for name, pairs in row.items() for pair in pairs) for row in rows]
    n_with = Counter(pair for pairs in joint for pair in pairs)
    holders: dict[tuple[str, int], list[int]] = {}  # pair > first rows that hold it among their rarer ones
    firsts = list[int]()
    for at, (row, pairs) in enumerate(zip(rows, joint, strict=True)):
        n_rarer = len(pairs) - math.ceil(alike * len(pairs)) + 1
        rarer = sorted(pairs, key=lambda pair: (n_with[pair], pair))[:n_rarer]
        others = sorted({other for pair in rarer for other in holders.get(pair, ())})
        firsts.append(next((other for other in others if are_near_duplicates(row, rows[other], alike=alike)), at))
        if firsts[-1] == at:
            for pair in rarer:
                holders.setdefault(pair, []).append(at)
    return firsts


def merged_groups(examples: Sequence[Example]) -> list[str]:
    """The group of each example, of near-duplicates the first one's: those stored before they shared a group have one
    each, which no import gave them. A given group stays.
    """
    firsts = firsts_of([shingles_of(example.input) for example in examples])
    return [
        example.group if text_without_group(example) is None else examples[first].group
        for example, first in zip(examples, firsts, strict=True)
    ]


def bands_of(shingles: Shingles) -> list[str]:
    """A name for each band over all fields, of which near-duplicates share one; a millisecond for 100 words."""
    least = {
        name: tuple(map(min, zip(*(_LEAST.unpack(_spread(pair)) for pair in pairs), strict=True)))
        for name, pairs in shingles.items()
    }
    return [
        hashlib.blake2b(
            repr([(name, values[BAND * at : BAND * (at + 1)]) for name, values in sorted(least.items())]).encode(),
            digest_size=8,
            salt=at.to_bytes(2, "big"),
        ).hexdigest()
        for at in range(N_BANDS if least else 0)
    ]


def _hash(pair: tuple[str, str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(pair).encode(errors="surrogatepass"), digest_size=4).digest(), "big")


def _spread(pair: int) -> bytes:
    """As good as 96 hash functions: the bytes of one long hash."""
    return hashlib.shake_128(pair.to_bytes(4, "big")).digest(_LEAST.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplePlace:
    """The group and split of an example. ``beside``: the near-duplicate whose group it joined; None: its own group."""

    id: str
    group: str
    split: Split
    beside: str | None


def place_of(example: Example, near: Sequence[ExamplePlace]) -> ExamplePlace | None:
    """Where a new example stands beside its stored near-duplicates, in the order in which they came.

    A given group wins. Else it joins the group of its first near-duplicate, so that both are in one split; but only of
    one that has not joined another's, since a chain of small changes ends far from where it began. None: it would be
    the near-duplicate of an example of another split, wherever it stood.
    """
    own = ExamplePlace(id=example.id, group=example.group, split=example.split, beside=None)
    if example.group != group_of(example.input, None) or not near:
        return own
    first = next((place for place in near if place.beside is None), None)
    place = own if first is None else ExamplePlace(id=example.id, group=first.group, split=first.split, beside=first.id)
    return place if {one.split for one in near} == {place.split} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Rows without a group whose texts are much like those of another: a question to who imports them."""

    n_rows: int
    n_sets: int
    n_compared: int
    such_as: Sequence[str]  # names of two rows of one set

    @property
    def text(self) -> str:
        """The near duplicates as a question to the person."""
        return (
            f"{self.n_rows} of {count(self.n_compared, 'row')} without a group look alike, in"
            f" {count(self.n_sets, 'set')} (such as {' and '.join(self.such_as)}). Is each set one case, such as a"
            " customer or a document? Then give its rows one `group` (a member of each JSON line, or a column of the"
            " CSV). Without it they count as independent, and a variant that loses the margin passes as not lower more"
            " often than the gate says. Rows keep the group with which they came: those that are here already can"
            " get one in a family of another name."
        )


def near_duplicates(texts: Mapping[str, str]) -> NearDuplicates | None:
    """The near duplicates among the first MOST_TEXTS; None where fewer than one in twenty looks like another.

    Args:
        texts: name of a row -> its text.
    """
    names = list(islice(texts, MOST_TEXTS))
    sets = grouped(
        (first, at)
        for at, first in enumerate(firsts_of([shingles_of({"text": texts[name]}) for name in names], alike=SIMILAR))
    )
    several = [places for places in sets.values() if len(places) > 1]
    n_rows = sum(map(len, several))
    if n_rows < max(2, LEAST_SHARE * len(names)):
        return None
    return NearDuplicates(
        n_rows=n_rows, n_sets=len(several), n_compared=len(names), such_as=[names[at] for at in several[0][:2]]
    )
