"""Canonical JSON (RFC 8785, floats rounded to 6 decimals) with its SHA-256, and a bounded reader of JSON from outside.

The hash is the basis of every content id and hash chain. The reader allows a bounded depth, and only values that every
JSON reader keeps. It raises ValueError, never RecursionError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

import rfc8785

DECIMALS = 6
_EXACT_BELOW = 2**53  # whole numbers up to here are the same in every JSON reader


_POSITIONAL_FROM = 1e-4  # Python writes smaller floats with an exponent, RFC 8785 does not
_WORDS = {None: "null", True: "true", False: "false"}
_MAPPINGS = (dict, Mapping)  # dict first: that check is cheap, and the abstract class's is not
_quoted = json.encoder.encode_basestring  # as RFC 8785 quotes, and in C


class _Differs(Exception):
    """Python writes a value in another way than RFC 8785, or sorts it elsewhere: tiny floats, and keys beyond ASCII."""


def canonical_json(value: Any) -> bytes:
    """Bytes that are equal for equal content; whole numbers from 2**53 on are written as texts.

    Raises rfc8785.CanonicalizationError for values that JSON cannot hold (NaN, infinity).

    The same bytes as rfc8785 writes, several times faster; the few values that it writes in another way are left to it.
    """
    try:
        return _text(value).encode()
    except (_Differs, ValueError, OverflowError):  # NaN, infinity, half a surrogate pair: rfc8785 says what is wrong
        return rfc8785.dumps(_plain(value))


def round_floats(value: Any) -> Any:
    """The value with its floats rounded to 6 decimals at any depth, so that values with equal canonical JSON become
    equal.
    """
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {k: round_floats(v) for k, v in value.items()}
    return [round_floats(v) for v in value] if isinstance(value, list | tuple) else value


def digest(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is float:
        short = round(value, DECIMALS)
        if not short.is_integer():
            if not _POSITIONAL_FROM <= abs(short) < _EXACT_BELOW:
                raise _Differs
            return repr(short)
        value = int(short)  # 0.0 and 0 are one setting; -0.0 has no place in an id
    elif kind is bool or value is None:
        return _WORDS[value]
    elif kind is dict:
        if not all(type(key) is str and key.isascii() for key in value):
            raise _Differs
        return "{" + ",".join([f"{_quoted(key)}:{_text(value[key])}" for key in sorted(value)]) + "}"
    elif kind is list or kind is tuple:
        return "[" + ",".join(map(_text, value)) + "]"
    elif kind is not int:
        raise _Differs
    return str(value) if -_EXACT_BELOW < value < _EXACT_BELOW else f'"{value}"'


def _plain(value: Any) -> Any:
    """Any value as rfc8785 takes it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        short = round(value, DECIMALS)
        if not short.is_integer():
            return short
        value = int(short)
    if isinstance(value, int):
        # As RFC 7493 advises: two long ids must not become one number.
        return value if abs(value) < _EXACT_BELOW else str(value)
    if isinstance(value, _MAPPINGS):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value]


MAX_DEPTH = 64  # of nested lists and objects; code that reads the value later needs a few calls for each
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


def table_of(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def json_of(value: Any) -> Any:
    """The value of a JSON text. A text that is no JSON, or a value that is no text, stays as it is."""
    try:
        return read_json(value) if isinstance(value, str) else value
    except ValueError:
        return value


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


def texts_in(value: Any) -> list[str]:
    """The texts of a value, at any depth and in their order; names of members are none."""
    texts: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, _MAPPINGS):
            waiting += reversed([*item.values()])
        elif isinstance(item, list | tuple):
            waiting += reversed(item)
    return texts


def is_within(value: Any, chars: int) -> bool:
    """Whether the value's texts, names included, have at most ``chars`` characters. Any other value counts as one.

    Reads at most ``chars`` members, at any depth.
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
