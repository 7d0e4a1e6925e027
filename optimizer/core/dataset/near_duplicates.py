"""Inputs that say nearly the same, such as a question asked twice with one word changed.

Two inputs are near-duplicates where each of their longer fields is nearly the other's: of the pairs of adjacent words
in either, at least ``ALIKE`` stand in both (Broder 1997, On the resemblance and containment of documents). Field by
field, so that a long text which every request brings along, such as a policy, makes none; a field of fewer than four
words is not compared, since two of those look alike by chance.

Among thousands they are found by bands of MinHash: of each of 64 hash functions the least value over a field's pairs,
four of them to a band. Two fields of resemblance J are equal in one with the chance J, so a near-duplicate shares none
of the 16 bands with a chance of at most 2e-4, and of a thousand texts of one template (J = .3) 120 are compared.

A library has the bands (datasketch). It loads numpy and scipy with its package, and examples are written by the api
process too, which answers every request and loads neither; what is needed of it are the dozen lines of ``bands_of``.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

from optimizer.core.dataset.examples import normalise

ALIKE = 0.8  # share of two fields' pairs of words, from which on they are nearly the same
LEAST_WORDS = 4  # of a field that is compared
MOST_WORDS = 500  # of a field that are read
N_BANDS, BAND = 16, 4
# A letter of a script that is written without spaces is a word of its own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_LEAST = struct.Struct(f"<{N_BANDS * BAND}I")

Shingles = Mapping[str, frozenset[int]]  # name of a longer field > hashes (32 bits) of its pairs of adjacent words


def shingles_of(input: Mapping[str, Any]) -> Shingles:
    """Of the fields with at least four words; none where all are shorter. The same in every process and version."""
    shingles = {}
    for name in sorted(input):
        words = [match.group() for match in islice(_WORD.finditer(normalise(input[name])), MOST_WORDS)]
        if len(words) >= LEAST_WORDS:
            shingles[name] = frozenset(map(_hash, pairwise(words)))
    return shingles


def are_near_duplicates(one: Shingles, other: Shingles) -> bool:
    """Whether two inputs say nearly the same; False where neither has a field that can be compared."""
    if not one or one.keys() != other.keys():
        return False
    return all(len(own & other[name]) >= ALIKE * len(own | other[name]) for name, own in one.items())


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
    """As good as 64 hash functions: the bytes of one long hash."""
    return hashlib.shake_128(pair.to_bytes(4, "big")).digest(_LEAST.size)
