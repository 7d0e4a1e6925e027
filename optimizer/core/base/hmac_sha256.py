"""HMAC-SHA-256 for keys that are used again and again: what depends on the key alone is computed once."""

from __future__ import annotations

import hmac
from functools import lru_cache


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """As ``hmac.digest(key, message, "sha256")``, which looks for the algorithm and takes up the key each time."""
    of_key = _of_key(key).copy()
    of_key.update(message)
    return of_key.digest()


@lru_cache(maxsize=64)
def _of_key(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")
