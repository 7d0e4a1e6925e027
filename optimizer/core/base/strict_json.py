"""JSON from outside: read to a bounded depth, and only what every JSON reader keeps.

Raises ValueError, never RecursionError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

MAX_DEPTH = 64  # of lists and objects in one another; what reads the value later goes a few calls deeper with each
_NO_DICT = frozenset((str, int, float, bool, type(None), list, tuple))
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, is nested too deep, or holds NaN, a number that no float holds, or half of a
            surrogate pair.
    """
    try:
        return _within_limits(json.loads(text, parse_constant=_no_constant))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def read_json_inside(text: str, start: int) -> Any:
    """The value that begins at a place of the text, whatever follows it; raises as ``read_json`` does."""
    try:
        return _within_limits(_DECODER.raw_decode(text, start)[0])
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _within_limits(root: Any) -> Any:
    """The value, looked through level by level."""
    level = [root]
    for depth in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict | list):
                if depth == MAX_DEPTH:
                    raise ValueError(_TOO_DEEP)
                below += value
                below += value.values() if isinstance(value, dict) else ()
            elif isinstance(value, str):
                if not is_unicode(value):
                    raise ValueError("it holds half of a surrogate pair, which is no Unicode text")
            elif isinstance(value, float) and not isfinite(value):
                raise ValueError("it holds a number that is too large")
        level = below
    return root


def is_unicode(text: str) -> bool:
    """Whether it holds no half of a surrogate pair."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def is_within(value: Any, chars: int) -> bool:
    """Whether the value's texts, names included, have at most ``chars`` characters, each other value counting as one.

    Looks at no more than ``chars`` members, at any depth.
    """
    waiting, chars_left = [value], chars
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is dict or (kind not in _NO_DICT and isinstance(item, Mapping)):  # a dict is told without asking
            chars_left -= len(item) + 1
            waiting += item
            waiting += item.values()
        elif isinstance(item, list | tuple):
            chars_left -= len(item) + 1
            waiting += item
        else:
            chars_left -= len(item) + 1 if isinstance(item, str) else 1
        if chars_left < 0:
            return False
    return True
