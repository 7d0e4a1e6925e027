"""Events as the server takes them: what came of a prompt, at once or in three days."""

from __future__ import annotations

import json
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

TEXTS = ("input", "output", "label", "expected", "tags")
MAX_ERROR_CHARS = 500


def interaction_id() -> str:
    return f"in_{token_hex(16)}"


def event_of(address: Mapping[str, Any], facts: Mapping[str, Any], *, id: str) -> dict[str, Any]:
    return {"id": id, **address, **{name: value for name, value in facts.items() if value is not None}}


def without_texts(event: bytes) -> bytes:
    """Of a family that keeps none. Of an error its kind stays: what it says may quote a user."""
    rest = {name: value for name, value in json.loads(event).items() if name not in TEXTS}
    if "error" in rest:
        rest["error"] = kind if (kind := rest["error"].partition(":")[0]).isidentifier() else "error"
    return json.dumps(rest, separators=(",", ":")).encode()


def outcome_id() -> str:
    return f"fb_{token_hex(16)}"


def error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]
