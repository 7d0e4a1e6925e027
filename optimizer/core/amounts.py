"""How much a value of JSON holds, counted no further than it matters: what is large is read elsewhere, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_within(value: Any, chars: int) -> bool:
    """Whether the value's texts, names included, have at most ``chars`` characters, each other value counting as one.

    Looks at no more than ``chars`` members, at any depth.
    """
    waiting, left = [value], chars
    while waiting:
        one = waiting.pop()
        left -= len(one) + 1 if isinstance(one, str | Mapping | list | tuple) else 1
        if left < 0:
            return False
        if isinstance(one, Mapping):
            waiting += one
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return True
