"""Ids of requests: the sender's own word, or one made here, which sorts by time."""

from __future__ import annotations

import re
from itertools import count
from random import getrandbits
from time import time_ns

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # as ULIDs are written, in lower case
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]


_last: tuple[int, str, count[int]] = (
    0,
    "",
    count(len(_PAIRS)),
)  # the millisecond, the id but two digits, and the counter of these two


def new_request_id() -> str:
    """A ULID: 48 bits of milliseconds and 80 random ones, 26 digits. The random ones need not be secret.

    Those of one millisecond count on from the first, as its specification allows.
    """
    global _last
    ms = time_ns() // 1_000_000
    of, before, following = _last
    n = next(following)
    if of != ms or n >= len(_PAIRS):
        chance = getrandbits(80)
        before = "".join(
            [_PAIRS[ms >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
            + [_PAIRS[chance >> shift & 1023] for shift in (70, 60, 50, 40, 30, 20, 10)]
        )
        n = chance & 1023
        _last = ms, before, count(n + 1)
    return before + _PAIRS[n]
