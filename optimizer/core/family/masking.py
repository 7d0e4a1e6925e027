"""Masking of personal data, before the first write, for every source."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import regex  # reads as re does, lets other threads run meanwhile, and can be told when to give up

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.check_digits import CardRow, IbanRow, numbers_in

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
_GIVES_UP_AFTER = 3  # texts that took longer; then it reads no more of the same request
_MAX_PASSES = 8
_WORD = re.compile(r"\w", re.ASCII)


class MaskTooSlow(InvalidInput):
    """A text that a user's own expression did not get through in time: it must not be kept unmasked."""

    slug = "mask-too-slow"
    title = "Mask too slow"


def _may_hold_ip(text: str) -> bool:
    return text.count(".") >= 3 or text.count(":") >= 2


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
    if (
        kind is CardRow and row[-1] not in " -" and _WORD.match(match.string, match.end())
    ):  # the last group goes on as a word
        whole = max(row.rfind(" "), row.rfind("-"), 0)
    parts, done = [], 0
    for start, end in numbers_in(row[:whole], kind):
        parts += [row[done:start], replacement]
        done = end
    return "".join([*parts, row[done:]])


# In this order, whatever the order in the file: an IBAN holds runs of digits that would pass as a phone number.
_BUILT_IN: dict[str, Callable[[str], str]] = {
    "email": lambda text: BUILT_IN_PATTERNS["email"].sub(_mask_email, text) if "@" in text else text,
    "iban": lambda text: BUILT_IN_PATTERNS["iban"].sub(lambda m: _mask_numbers(m, IbanRow, "[iban]"), text),
    "card": lambda text: BUILT_IN_PATTERNS["card"].sub(lambda m: _mask_numbers(m, CardRow, "[card]"), text),
    "ip": lambda text: (
        BUILT_IN_PATTERNS["ip"].sub(lambda m: "[ip]" if _is_ip(m.group()) else m.group(), text)
        if _may_hold_ip(text)
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
            return {self.mask(k): self.mask(v) for k, v in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.mask(v) for v in value]
        return value


@cache
def masker_of(rules: tuple[str, ...]) -> Masker:
    """Of built-in rules alone, which remember nothing: made once."""
    return Masker(rules)


class _OwnRule:
    """A regular expression of the user's own, whose time may grow faster than the text:
    it is stopped, and the text refused.
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
