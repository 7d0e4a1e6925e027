"""Masking of personal data, before the first write and on every way in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,30})+", re.IGNORECASE | re.ASCII)
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,}(?!\w)", re.ASCII)
_IP = re.compile(
    r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4})(?![\w:])|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)",
    re.IGNORECASE | re.ASCII,
)
_PHONE = re.compile(
    r"(?<![\w.+])(?:"
    r"(?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}"  # +49 (30) 1234-567
    r"|\(\d{2,5}\)[ ./-]?\d(?:[ ./-]?\d){4,9}"  # (030) 1234567
    r"|0\d{1,4}[ ./-]\d(?:[ ./-]?\d){4,9}"  # 030 1234567, 020 7946 0958
    r"|\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-867-5309
    r")(?!\w)",
    re.ASCII,
)
_MAX_PASSES = 8
_GROUPS_OF_A_CARD, _GROUPS_OF_AN_IBAN = 19, 31  # the most characters after the check digits, each a group of its own


def _is_card(digits: str) -> bool:
    """13 to 19 digits whose Luhn sum is right; a row of one digit passes the sum and is nobody's card."""
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: first four characters to the end, letters as 10..35, remainder 1 by 97."""
    if not 15 <= len(text) <= 34 or not text[:2].isalpha() or not text[2:4].isdigit():
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text != "::"


def _mask_groups(text: str, is_it: Callable[[str], bool], n_groups: int, replacement: str) -> str:
    """Replaces the longest run of whole groups that ``is_it``: digits in fours are often followed by another number."""
    parts = re.split(r"([ -])", text)  # groups at even places, what separates them between
    start = 0
    while start < len(parts):
        for end in range(min(len(parts), start + 2 * n_groups - 1), start, -2):
            if is_it("".join(parts[start:end:2])):
                parts[start:end] = [replacement]
                break
        start += 2
    return "".join(parts)


# In this order, whatever the order in the file: an IBAN holds runs of digits that would pass as a phone number.
_BUILT_IN: dict[str, Callable[[str], str]] = {
    "email": lambda text: _EMAIL.sub("[email]", text),
    "iban": lambda text: _IBAN.sub(lambda m: _mask_groups(m.group(), _is_iban, _GROUPS_OF_AN_IBAN, "[iban]"), text),
    "card": lambda text: _CARD.sub(lambda m: _mask_groups(m.group(), _is_card, _GROUPS_OF_A_CARD, "[card]"), text),
    "ip": lambda text: _IP.sub(lambda m: "[ip]" if _is_ip(m.group()) else m.group(), text),
    "phone": lambda text: _PHONE.sub("[phone]", text),
}
BUILT_IN_RULES = tuple(_BUILT_IN)


def check_rule(rule: str | Mapping[str, Any]) -> None:
    """Raises ValueError for a rule that cannot be applied, or that would change its own replacement again."""
    if isinstance(rule, str):
        if rule not in _BUILT_IN:
            raise ValueError(f"there is no mask named {rule!r}; use {', '.join(_BUILT_IN)}, or give {{pattern: ..., replacement: ...}}")
        return
    try:
        pattern = re.compile(rule["pattern"])
    except re.error as error:
        raise ValueError(f"{rule['pattern']!r} is no regular expression ({error}); see Python's re for the syntax") from None
    if pattern.search(""):
        raise ValueError(f"{rule['pattern']!r} matches the empty text and would mask everywhere; make it match at least one character")
    if pattern.search(rule.get("replacement", "[masked]")):
        raise ValueError(f"{rule['pattern']!r} matches its own replacement, so masking would never end; choose another replacement")


class Masker:
    """Replaces personal data in every text of a value; masking twice equals masking once.

    Args:
        rules: names of built-in rules (email, phone, card, iban, ip) or {"pattern", "replacement"}; the user's own come last, in their order.
    Raises:
        ValueError: see ``check_rule``.
    """

    def __init__(self, rules: Iterable[str | Mapping[str, Any]] = ()) -> None:
        given = list(rules)
        for rule in given:
            check_rule(rule)
        self._steps = [step for name, step in _BUILT_IN.items() if name in given] + [_own_rule(r) for r in given if not isinstance(r, str)]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def mask(self, value: Any) -> Any:
        """A copy with every text masked, in keys and values at any depth; other values stay as they are."""
        if isinstance(value, str):
            return self._mask_text(value)
        if isinstance(value, Mapping):
            return {self.mask(k): self.mask(v) for k, v in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return [self.mask(v) for v in value]
        return value

    def _mask_text(self, text: str) -> str:
        for _ in range(_MAX_PASSES):  # a removal can bring the halves of another match together
            masked = text
            for step in self._steps:
                masked = step(masked)
            if masked == text:
                break
            text = masked
        return text


def _own_rule(rule: Mapping[str, Any]) -> Callable[[str], str]:
    pattern, replacement = re.compile(rule["pattern"]), rule.get("replacement", "[masked]")
    return lambda text: pattern.sub(lambda _: replacement, text)
