"""How answers and logs name a request: by its id, and by its path without a unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from random import getrandbits
from time import time_ns
from typing import Any

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")  # of the sender's own word
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # as ULIDs are written, in lower case
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_last: tuple[int, str, count[int]] = 0, "", count(len(_PAIRS))  # the millisecond, the id but two digits, these two
KNOWN_SEGMENTS = 2  # of a path without a route; the rest may be anything, and is not logged


def new_request_id() -> str:
    """A ULID, which sorts by time: 48 bits of milliseconds and 80 random ones, which need not be secret.

    Those of one millisecond count on from the first, as its specification allows.
    """
    global _last
    ms = time_ns() // 1_000_000
    of, before, following = _last
    n = next(following)
    if of != ms or n >= len(_PAIRS):
        bits = ms << 80 | getrandbits(80)
        before, n = "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, 0, -10)]), bits & 1023
        _last = ms, before, count(n + 1)
    return before + _PAIRS[n]


def logged_path(scope: Mapping[str, Any]) -> str:
    """The path with ``{unit}`` in the place of a unit, which is stored as its HMAC only, and a log is a store too; of a
    request that met no route its first two segments.
    """
    path, params = str(scope["path"]), scope.get("path_params")
    if params is None:
        start, rest = path.split("/")[: KNOWN_SEGMENTS + 1], path.split("/")[KNOWN_SEGMENTS + 1 :]
        return "/".join([*start, "…"] if rest else start)
    unit = params.get("unit")
    return path if not unit else path.removesuffix(str(unit)) + "{unit}"


def span_path(scope: Mapping[str, Any]) -> str:
    """As ``logged_path``, with the name of each parameter in its place: a span's name is one of few."""
    by_value = {str(value): f"{{{name}}}" for name, value in (scope.get("path_params") or {}).items()}
    return "/".join(by_value.get(part, part) for part in logged_path(scope).split("/"))
