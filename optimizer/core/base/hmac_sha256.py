"""HMAC-SHA-256 for keys that are used again and again: what depends on the key alone is computed once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

BLOCK_BYTES = 64


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """As ``hmac.digest(key, message, "sha256")``, which looks for the algorithm and takes up the key each time.

    Source:
        RFC 2104, section 4 ("Implementation note").
    """
    of_inner, of_outer = _begun(key)
    inner, outer = of_inner.copy(), of_outer.copy()
    inner.update(message)
    outer.update(inner.digest())
    digest: bytes = outer.digest()
    return digest


@lru_cache(maxsize=64)
def _begun(key: bytes) -> tuple[Any, Any]:
    """Both hashes after the block that the key fills."""
    block = (key if len(key) <= BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(BLOCK_BYTES, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ mask for byte in block)) for mask in (0x36, 0x5C))
    return inner, outer
