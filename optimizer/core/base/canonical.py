"""Canonical JSON (RFC 8785, floats rounded to 6 decimals) and its SHA-256:
the basis of every content id and hash chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

DECIMALS = 6
_EXACT_BELOW = 2**53  # whole numbers up to here are the same in every JSON reader


_POSITIONAL_FROM = 1e-4  # Python writes smaller floats with an exponent, RFC 8785 does not
_AS_IT_IS = (str, bool)
_MAPPINGS = (dict, Mapping)  # a dict is told without asking the abstract class
_quick = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: Any) -> bytes:
    """Bytes that are equal for equal content; whole numbers from 2**53 on are written as texts.

    Raises rfc8785.CanonicalizationError for values that JSON cannot hold (NaN, infinity).

    Python's own encoder writes the same bytes several times faster, but for the few values where it differs from RFC
    8785: these are left to rfc8785.
    """
    differs: list[object] = []
    plain = _plain(value, differs)
    if not differs:
        try:
            return _quick(plain).encode()
        except ValueError:  # NaN, infinity, half a surrogate pair: rfc8785 says what is wrong
            pass
    return rfc8785.dumps(plain)


def rounded(value: Any) -> Any:
    """The value with its floats rounded to 6 decimals at any depth:
    content that canonical JSON does not tell apart becomes equal.
    """
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


def digest(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _plain(value: Any, differs: list[object]) -> Any:
    """``differs`` is told what Python's encoder would write in another way, or sort:
    tiny floats, and keys beyond ASCII.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None or isinstance(value, _AS_IT_IS):
        return value
    if kind is float or isinstance(value, float):
        short = round(value, DECIMALS)
        if not short.is_integer():
            if abs(short) < _POSITIONAL_FROM:
                differs.append(short)
            return short
        value = int(short)  # 0.0 and 0 are one setting; -0.0 has no place in an id
    if isinstance(value, int):
        return (
            value if abs(value) < _EXACT_BELOW else str(value)
        )  # as RFC 7493 advises: two long ids must not become one number
    if isinstance(value, _MAPPINGS):
        plain = {str(k): _plain(v, differs) for k, v in value.items()}
        differs.extend(key for key in plain if not key.isascii())
        return plain
    return [_plain(v, differs) for v in value]
