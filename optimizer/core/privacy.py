"""Masking of personal data, before the first write and on every way in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", re.IGNORECASE | re.ASCII)
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w])", re.ASCII)
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", re.ASCII)
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{0,4}|\d{1,3}(?:\.\d{1,3}){3})(?![\w:])", re.IGNORECASE | re.ASCII)
_PHONE = re.compile(
    r"(?<![\w.+])(?:"
    r"(?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}"  # +49 (30) 1234-567
    r"|\(\d{2,5}\)[ ./-]?\d(?:[ ./-]?\d){4,9}"  # (030) 1234567
    r"|0\d{1,4}[ ./-]\d(?:[ ./-]?\d){4,9}"  # 030 1234567, 020 7946 0958
    r"|\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-867-5309
    r")(?!\w)",
    re.ASCII,
)


def _luhn(digits: str) -> bool:
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return len(set(digits)) > 1 and _luhn(digits)  # a row of zeros passes the sum and is nobody's card


def _is_iban(text: str) -> bool:
    """ISO 13616: first four characters to the end, letters as 10..35, remainder 1 by 97."""
    plain = text.replace(" ", "").upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(c.isalnum() for c in text)


def _always(_: str) -> bool:
    return True


# In this order, whatever the order in the file: an IBAN holds runs of digits that would pass as a phone number.
_BUILT_IN: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (_EMAIL, _always),
    "iban": (_IBAN, _is_iban),
    "card": (_CARD, _is_card),
    "ip": (re.compile(f"{_IP6.pattern}|{_IP4.pattern}", re.IGNORECASE | re.ASCII), _is_ip),
    "phone": (_PHONE, _always),
}
BUILT_IN_RULES = tuple(_BUILT_IN)
_MAX_PASSES = 8


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
        self._steps: list[tuple[re.Pattern[str], Callable[[str], bool], str]] = [
            (*_BUILT_IN[name], f"[{name}]") for name in _BUILT_IN if name in [r for r in given if isinstance(r, str)]
        ]
        own = [r for r in given if not isinstance(r, str)]
        self._steps += [(re.compile(r["pattern"]), _always, r.get("replacement", "[masked]")) for r in own]

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
            for pattern, is_it, replacement in self._steps:
                masked = pattern.sub(lambda m, ok=is_it, new=replacement: new if ok(m.group()) else m.group(), masked)  # type: ignore[misc]
            if masked == text:
                break
            text = masked
        return text


def masker_of(store: str, rules: Sequence[str | Mapping[str, Any]]) -> Masker:
    """The Masker of a Family's ``privacy``: ``store: masked`` without rules of its own means all built-in ones."""
    return Masker(rules or (BUILT_IN_RULES if store == "masked" else ()))
