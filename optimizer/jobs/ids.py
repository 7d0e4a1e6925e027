"""Ids are made by jobs: a prefix that says what it names, and a lower-case ULID, which sorts by time."""

from __future__ import annotations

from collections.abc import Iterator
from secrets import randbits

from ulid import ULID

_SIGNS = "0123456789abcdefghjkmnpqrstvwxyz"
_LAST_TWO = [a + b for a in _SIGNS for b in _SIGNS]


def new_id(prefix: str) -> str:
    """``new_id("st")`` gives ``st_01jd…``."""
    return f"{prefix}_{str(ULID()).lower()}"


def new_ulids() -> Iterator[str]:
    """As many lower-case ULIDs as requested, in order.

    Those of one millisecond count on in their last ten bits, after seventy bits that are drawn anew for each 1,024. So
    rows of one commit lie side by side in every index.
    """
    while True:
        drawn = randbits(70)
        start = str(ULID()).lower()[:10] + "".join(_SIGNS[drawn >> shift & 31] for shift in range(0, 70, 5))
        for two in _LAST_TWO:
            yield start + two
