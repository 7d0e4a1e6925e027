"""Ids of requests: the sender's own word, or one made here, which sorts by time."""

from __future__ import annotations

import re
from random import getrandbits
from time import time_ns

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # as ULIDs are written, in lower case
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]


def new_request_id() -> str:
    """A ULID: 48 bits of milliseconds and 80 random ones, 26 digits. The random ones need not be secret."""
    ms, chance, pairs = time_ns() // 1_000_000, getrandbits(80), _PAIRS
    return "".join(
        [pairs[ms >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
        + [pairs[chance >> shift & 1023] for shift in (70, 60, 50, 40, 30, 20, 10, 0)]
    )
