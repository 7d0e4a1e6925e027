"""Canonical JSON (RFC 8785, floats rounded to 6 decimals) and its SHA-256: the basis of every content id and hash chain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

DECIMALS = 6
_EXACT_BELOW = 2**53  # whole numbers up to here are the same in every JSON reader


def canonical_json(value: Any) -> bytes:
    """Bytes that are equal for equal content; whole numbers from 2**53 on are written as texts. Raises rfc8785.CanonicalizationError for values that JSON cannot hold (NaN, infinity)."""
    return rfc8785.dumps(_plain(value))


def rounded(value: Any) -> Any:
    """The value with its floats rounded to 6 decimals at any depth: content that canonical JSON does not tell apart becomes equal."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


def digest(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bool | None | str):
        return value
    if isinstance(value, float):
        short = round(value, DECIMALS)
        if not short.is_integer():
            return short
        value = int(short)  # 0.0 and 0 are one setting; -0.0 has no place in an id
    if isinstance(value, int):
        return value if abs(value) < _EXACT_BELOW else str(value)  # as RFC 7493 advises: two long ids must not become one number
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value]
