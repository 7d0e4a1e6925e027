"""Masking of personal data from every source, before it is first written.

Check digits tell cards and accounts: they are runs of whole groups in a row of digits (or letters and digits). A row
may be as long as a text, such as "1-1-1-…" or a table of numbers. It is read in blocks whose running sums are kept
once, so that a run costs one subtraction, and each group begins at most ``MAX_RUNS`` runs: time grows in proportion to
the row's length, and memory does not grow.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate, count
from typing import Any

import regex  # reads as re does, lets other threads run meanwhile, and can be told when to give up

from optimizer.core.base.errors import InvalidInput

CARD_CHARS = (13, 19)
IBAN_CHARS = (15, 34)
MAX_RUNS = IBAN_CHARS[1] - IBAN_CHARS[0] + 1  # runs from one group: at most one for each length
BLOCK = 4096  # groups
# A digit in every second place counts as the sum of its double's digits (Luhn).
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
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
    """A row of ASCII letters and digits.

    ISO 13616: move the first four characters to the end, count letters as 10 to 35; the remainder by 97 is 1.
    """

    chars = IBAN_CHARS

    def __init__(self, characters: str) -> None:
        self._characters = characters
        # Of each beginning of the row: its value modulo 97, and its number of digits once letters are numbers.
        self._remainders, self._widths = ([0], [0])
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
        # A head is six digits.
        return next((end for end in ends if self._part(body, end) * _POWERS[6] % _MODULUS == wanted), None)

    def _part(self, start: int, end: int) -> int:
        width = self._widths[end] - self._widths[start]
        return (self._remainders[end] - self._remainders[start] * _POWERS[width % len(_POWERS)]) % _MODULUS


def numbers_in(row: str, kind: type[CardRow | IbanRow]) -> Iterator[Span]:
    """(start, end) of each number in a row whose groups one space or hyphen separates.

    From left to right, each time the longest that begins at a group.
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


# An unbounded repetition is of single characters, gives nothing back (possessive ++) and is begun by no other inside
# the same run: time is linear in the text, whatever stands in it, and memory stays. What a row of numbers or an address
# holds is told apart behind it.
BUILT_IN_PATTERNS: Mapping[str, regex.Pattern[str]] = {
    "email": regex.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w-][\w.-]*+", regex.ASCII),
    "iban": regex.compile(r"(?<!\w)[A-Z]{2}\d{2} ?[A-Z0-9][A-Z0-9 ]*+", regex.IGNORECASE | regex.ASCII),
    "card": regex.compile(r"(?<![\w.])\d[\d -]{12}[\d -]*+", regex.ASCII),
    "ip": regex.compile(
        r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4})(?![\w:])"
        r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)",
        regex.IGNORECASE | regex.ASCII,
    ),
    "phone": regex.compile(
        r"(?<![\w.+])(?:"
        r"(?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}"  # +49 (30) 1234-567
        r"|\(\d{2,5}\)[ ./-]?\d(?:[ ./-]?\d){4,9}"  # (030) 1234567
        r"|0\d{1,4}[ ./-]\d(?:[ ./-]?\d){4,9}"  # 030 1234567, 020 7946 0958
        r"|\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-867-5309
        r")(?!\w)",
        regex.ASCII,
    ),
}
OWN_RULE_S = 1.0  # a user's own expression may take so long for one text
_GIVES_UP_AFTER = 3  # after so many texts that took too long, it reads no more of the same request
_MAX_PASSES = 8
_WORD = re.compile(r"\w", re.ASCII)


class MaskTooSlow(InvalidInput, slug="mask-too-slow"):
    """A text that a user's own expression did not get through in time: it must not be kept unmasked."""


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text != "::"


def _mask_email(match: Any) -> str:
    """A dot behind which no letter follows ends the address."""
    text: str = match.group()
    double = text.find("..", text.index("@"))
    end = double if double >= 0 else len(text) - text.endswith(".")
    return "[email]" + text[end:]


def _mask_numbers(match: Any, kind: type[CardRow | IbanRow], replacement: str) -> str:
    """Replaces runs of whole groups with right check digits: digits in fours are often followed by another number."""
    row: str = match.group()
    whole = len(row)
    # The last group goes on as a word.
    if kind is CardRow and row[-1] not in " -" and _WORD.match(match.string, match.end()):
        whole = max(row.rfind(" "), row.rfind("-"), 0)
    parts, done = [], 0
    for start, end in numbers_in(row[:whole], kind):
        parts += [row[done:start], replacement]
        done = end
    return "".join([*parts, row[done:]])


# This order holds whatever the order in the file: an IBAN has runs of digits that look like a phone number.
_BUILT_IN: dict[str, Callable[[str], str]] = {
    "email": lambda text: BUILT_IN_PATTERNS["email"].sub(_mask_email, text) if "@" in text else text,
    "iban": lambda text: BUILT_IN_PATTERNS["iban"].sub(lambda m: _mask_numbers(m, IbanRow, "[iban]"), text),
    "card": lambda text: BUILT_IN_PATTERNS["card"].sub(lambda m: _mask_numbers(m, CardRow, "[card]"), text),
    "ip": lambda text: (
        BUILT_IN_PATTERNS["ip"].sub(lambda m: "[ip]" if _is_ip(m.group()) else m.group(), text)
        if text.count(".") >= 3 or text.count(":") >= 2
        else text
    ),
    "phone": lambda text: BUILT_IN_PATTERNS["phone"].sub("[phone]", text),
}
BUILT_IN_RULES = tuple(_BUILT_IN)


def check_rule(rule: str | Mapping[str, Any]) -> None:
    """Raises ValueError for a rule that cannot be applied, or that would change its own replacement again."""
    if isinstance(rule, str):
        if rule not in _BUILT_IN:
            raise ValueError(
                f"there is no mask named {rule!r}; use {', '.join(_BUILT_IN)}, or give"
                " {pattern: ..., replacement: ...}"
            )
        return
    try:
        pattern = re.compile(rule["pattern"])
        regex.compile(rule["pattern"])
    except (re.error, regex.error) as error:
        raise ValueError(
            f"{rule['pattern']!r} is no regular expression ({error}); see Python's re for the syntax"
        ) from None
    if pattern.search(""):
        raise ValueError(
            f"{rule['pattern']!r} matches the empty text and would mask everywhere; make it match at least one"
            " character"
        )
    if pattern.search(rule.get("replacement", "[masked]")):
        raise ValueError(
            f"{rule['pattern']!r} matches its own replacement, so masking would never end; choose another replacement"
        )


class Masker:
    """Replaces personal data in every text of a value; masking twice equals masking once.

    Args:
        rules: names of built-in rules (email, phone, card, iban, ip) or {"pattern", "replacement"}; the user's own come
            last, in their order.
        own_rule_s: how long one of the user's own may take for one text.
    Raises:
        ValueError: see ``check_rule``.
    """

    def __init__(self, rules: Iterable[str | Mapping[str, Any]] = (), *, own_rule_s: float = OWN_RULE_S) -> None:
        all_rules = list(rules)
        for rule in all_rules:
            check_rule(rule)
        self._steps = [step for name, step in _BUILT_IN.items() if name in all_rules] + [
            _OwnRule(rule, own_rule_s) for rule in all_rules if not isinstance(rule, str)
        ]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def mask(self, value: Any) -> Any:
        """A copy with every text masked, in keys and values at any depth; other values stay as they are.

        Raises:
            MaskTooSlow: one of the user's own expressions did not get through a text in time.
        """
        if isinstance(value, str):
            text = value
            for _ in range(_MAX_PASSES):  # a removal can bring the halves of another match together
                masked = text
                for step in self._steps:
                    masked = step(masked)
                if masked == text:
                    break
                text = masked
            return text
        if isinstance(value, Mapping):
            return self._members(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.mask(v) for v in value]
        return value

    def _members(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """Names that are alike once masked are numbered, so that no value is lost."""
        members: dict[Any, Any] = {}
        numbers: defaultdict[Any, Iterator[int]] = defaultdict(lambda: count(2))
        for name, value in values.items():
            key = masked = self.mask(name)
            while key in members:
                key = f"{masked} {next(numbers[masked])}"
            members[key] = self.mask(value)
        return members


@cache
def masker_of(rules: tuple[str, ...]) -> Masker:
    """The masker of built-in rules, which have no state, so it is made once."""
    return Masker(rules)


class _OwnRule:
    """A user's own regular expression. Its time may grow faster than the text, so it is stopped and the
    text refused.
    """

    def __init__(self, rule: Mapping[str, Any], max_s: float) -> None:
        self._pattern, self._replacement, self._max_s = (
            regex.compile(rule["pattern"]),
            rule.get("replacement", "[masked]"),
            max_s,
        )
        self._n_slow = 0

    def __call__(self, text: str) -> str:
        if self._n_slow < _GIVES_UP_AFTER:
            try:
                return str(self._pattern.sub(lambda _: self._replacement, text, timeout=self._max_s))
            except TimeoutError:
                self._n_slow += 1
        raise MaskTooSlow(
            f"The mask {self._pattern.pattern[:80]!r} takes more than {self._max_s:g} s for a text of {len(text):,}"
            " characters, so the text is not kept. Write it without a repetition inside a repetition, under"
            " privacy.mask of the family, and send this again."
        )
