"""Which runs of whole groups in a row of digits (or letters and digits)
are a card's or an account's number, by their check digits.

A row may be as long as a text: "1-1-1-…", a table of numbers. It is read in blocks, sums over whose beginning are kept
once, so that a run costs a subtraction, and each group begins at most ``MAX_RUNS`` runs: time grows with the row's
length and no faster, memory not at all.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

CARD_CHARS = (13, 19)
IBAN_CHARS = (15, 34)
MAX_RUNS = IBAN_CHARS[1] - IBAN_CHARS[0] + 1  # runs from one group: at most one for each length
BLOCK = 4096  # groups
_DOUBLED = (
    0,
    2,
    4,
    6,
    8,
    1,
    3,
    5,
    7,
    9,
)  # a digit in every second place counts as the sum of its double's digits (Luhn)
_MODULUS, _HEAD_CHARS = 97, 4
_POWERS = tuple(pow(10, n, _MODULUS) for n in range(_MODULUS - 1))  # 10 ** 96 is 1 modulo 97
_GROUP = re.compile(r"[^ -]+")

Span = tuple[int, int]


class CardRow:
    """Digits: ISO/IEC 7812, 13 to 19 with a right Luhn sum; one repeated digit passes the sum, but is no card."""

    chars = CARD_CHARS

    def __init__(self, digits: str) -> None:
        even = [int(d) for d in digits]
        odd = [_DOUBLED[d] for d in even]
        even[1::2], odd[1::2] = odd[1::2], even[1::2]
        self._sums = (list(accumulate(even, initial=0)), list(accumulate(odd, initial=0)))
        self._changes = [i for i in range(1, len(digits)) if digits[i] != digits[i - 1]]

    def longest(self, start: int, ends: Iterable[int]) -> int | None:
        """The first of the ends at which a number that begins at ``start`` is right."""
        for end in ends:
            sums = self._sums[(end - 1) % 2]  # in which the last digit counts once
            if (sums[end] - sums[start]) % 10 == 0 and self._differs(start, end):
                return end
        return None

    def _differs(self, start: int, end: int) -> bool:
        at = bisect_right(self._changes, start)
        return at < len(self._changes) and self._changes[at] < end


class IbanRow:
    """ASCII letters and digits: ISO 13616, the first four characters moved to the end,
    letters as 10 to 35, remainder 1 by 97.
    """

    chars = IBAN_CHARS

    def __init__(self, characters: str) -> None:
        self._characters = characters
        self._remainders, self._widths = (
            [0],
            [0],
        )  # of the row's beginning: modulo 97, and how many digits it has written as digits
        for character in characters:
            width = 1 if character.isdigit() else 2
            self._remainders.append((self._remainders[-1] * 10**width + int(character, 36)) % _MODULUS)
            self._widths.append(self._widths[-1] + width)

    def longest(self, start: int, ends: Iterable[int]) -> int | None:
        """The first of the ends at which a number that begins at ``start`` is right."""
        body = start + _HEAD_CHARS
        head = self._characters[start:body]
        if not (head[:2].isalpha() and head[2:].isdigit()):
            return None
        wanted = (1 - self._part(start, body)) % _MODULUS
        return next(
            (end for end in ends if self._part(body, end) * _POWERS[6] % _MODULUS == wanted), None
        )  # a head is six digits

    def _part(self, start: int, end: int) -> int:
        width = self._widths[end] - self._widths[start]
        return (self._remainders[end] - self._remainders[start] * _POWERS[width % len(_POWERS)]) % _MODULUS


def numbers_in(row: str, kind: type[CardRow | IbanRow]) -> Iterator[Span]:
    """(start, end) of each number in a row whose groups one space or hyphen separates: from left to right,
    the longest that begins at a group.
    """
    most = kind.chars[1]
    groups: list[Span] = []
    for match in _GROUP.finditer(row):
        is_apart = bool(groups) and match.start() - groups[-1][1] > 1
        is_too_long = match.end() - match.start() > most
        if is_apart or is_too_long:  # no number reaches over it
            yield from _of_block(row, groups, kind, len(groups))[0]
            groups = []
        if not is_too_long:
            groups.append(match.span())
        if len(groups) == BLOCK + most:
            numbers, read = _of_block(row, groups, kind, BLOCK)
            yield from numbers
            groups = groups[read:]
    yield from _of_block(row, groups, kind, len(groups))[0]


def _of_block(row: str, groups: Sequence[Span], kind: type[CardRow | IbanRow], n: int) -> tuple[list[Span], int]:
    """The numbers that begin at the first ``n`` groups, and how many groups are read with them."""
    texts = [row[start:end] for start, end in groups]
    runs = list(runs_of(texts, kind("".join(texts)), n))
    return [(groups[first][0], groups[after - 1][1]) for first, after in runs], max(
        [n, *(after for _, after in runs[-1:])]
    )


def runs_of(groups: Sequence[str], row: CardRow | IbanRow, n: int | None = None) -> Iterator[tuple[int, int]]:
    """(first group, group after the last) of each run that is a number and begins at one of the first ``n`` groups."""
    edges = list(accumulate(map(len, groups), initial=0))
    at = {edge: index for index, edge in enumerate(edges)}
    least, most = row.chars
    first = low = high = 0
    while first < (len(groups) if n is None else n):
        start = edges[first]
        while low < len(edges) and edges[low] - start < least:
            low += 1
        while high < len(edges) and edges[high] - start <= most:
            high += 1
        end = row.longest(start, reversed(edges[low:high])) if low < high else None
        if end is not None:
            yield first, at[end]
        first = first + 1 if end is None else at[end]
