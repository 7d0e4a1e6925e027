"""Which runs of whole groups in a row of digits (or letters and digits) are a card's or an account's number, by their check digits.

A row may be as long as a text: "1-1-1-…", a table of numbers. Sums over its beginning are kept once, so that a run costs a subtraction,
and each group begins at most ``MAX_RUNS`` runs: time and memory grow with the row's length and no faster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

CARD_CHARS = (13, 19)
IBAN_CHARS = (15, 34)
MAX_RUNS = IBAN_CHARS[1] - IBAN_CHARS[0] + 1  # runs from one group: at most one for each length
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # a digit in every second place counts as the sum of its double's digits (Luhn)
_MODULUS, _HEAD_CHARS = 97, 4
_POWERS = tuple(pow(10, n, _MODULUS) for n in range(_MODULUS))  # 10 ** 96 is 1 modulo 97, so exponents may be taken modulo 96


class CardRow:
    """A row of digits: ISO/IEC 7812, 13 to 19 of them whose Luhn sum is right; one digit repeated passes the sum and is nobody's card."""

    chars = CARD_CHARS

    def __init__(self, digits: str) -> None:
        even = [int(d) for d in digits]
        odd = [_DOUBLED[d] for d in even]
        even[1::2], odd[1::2] = odd[1::2], even[1::2]
        self._sums = (list(accumulate(even, initial=0)), list(accumulate(odd, initial=0)))
        self._changes = [i for i in range(1, len(digits)) if digits[i] != digits[i - 1]]

    def begins(self, start: int) -> bool:
        return True

    def holds(self, start: int, end: int) -> bool:
        sums = self._sums[(end - 1) % 2]  # in which the last digit counts once
        return (sums[end] - sums[start]) % 10 == 0 and self._differs(start, end)

    def _differs(self, start: int, end: int) -> bool:
        at = bisect_right(self._changes, start)
        return at < len(self._changes) and self._changes[at] < end


class IbanRow:
    """A row of ASCII letters and digits: ISO 13616, the first four characters moved to the end, letters as 10 to 35, remainder 1 by 97."""

    chars = IBAN_CHARS

    def __init__(self, characters: str) -> None:
        self._characters = characters
        self._remainders, self._widths = [0], [0]  # of the row's beginning: modulo 97, and how many digits it has written as digits
        for character in characters:
            width = 1 if character.isdigit() else 2
            self._remainders.append((self._remainders[-1] * 10**width + int(character, 36)) % _MODULUS)
            self._widths.append(self._widths[-1] + width)

    def begins(self, start: int) -> bool:
        head = self._characters[start : start + _HEAD_CHARS]
        return head[:2].isalpha() and head[2:].isdigit()

    def holds(self, start: int, end: int) -> bool:
        body = start + _HEAD_CHARS
        return (self._part(body, end) * _POWERS[6] + self._part(start, body)) % _MODULUS == 1  # two letters and two digits: six

    def _part(self, start: int, end: int) -> int:
        width = self._widths[end] - self._widths[start]
        return (self._remainders[end] - self._remainders[start] * _POWERS[width % (_MODULUS - 1)]) % _MODULUS


def runs_of(groups: Sequence[str], row: CardRow | IbanRow) -> Iterator[tuple[int, int]]:
    """(first group, group after the last) of each run that holds: from left to right, the longest of those that begin at one group.

    Args:
        groups: not empty each; together the row's characters.
    """
    edges = list(accumulate(map(len, groups), initial=0))
    least, most = row.chars
    first = 0
    while first < len(groups):
        after = next(_ends(edges, first, least, most, row), None)
        if after is not None:
            yield first, after
        first = first + 1 if after is None else after


def _ends(edges: Sequence[int], first: int, least: int, most: int, row: CardRow | IbanRow) -> Iterator[int]:
    start = edges[first]
    if edges[-1] - start < least or not row.begins(start):
        return
    last = bisect_right(edges, start + most, first + 1, min(len(edges), first + most + 1)) - 1
    for after in range(last, first, -1):
        if edges[after] - start < least:
            return
        if row.holds(start, edges[after]):
            yield after
