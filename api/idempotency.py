"""Idempotency-Key: the name under which a request's answer is kept, in the transaction of what it stored."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from fastapi import Request

from optimizer.core.errors import Fault, InvalidInput

MAX_KEY_CHARS = 255
KEY_HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$"},
    "description": "Same key and body: the first answer again. Same key, other body: 422.",
}


def idempotency_of(request: Request, body: bytes) -> tuple[str, str, str] | None:
    """(who sends and to where, key, SHA-256 of the body), or None without a key. Raises InvalidInput for one that cannot be kept."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not key.strip() or len(key) > MAX_KEY_CHARS or not key.isprintable():
        detail = f"an Idempotency-Key has 1 to {MAX_KEY_CHARS} printable characters"
        raise InvalidInput(f"The Idempotency-Key cannot be used: {detail}.", [Fault(pointer="/Idempotency-Key", detail=detail)])
    return f"{request.state.caller.quota} {request.url.path}", key, sha256(body).hexdigest()
