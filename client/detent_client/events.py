"""Events as the server takes them: what came of a prompt, at once or in three days."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

TEXTS = ("input", "output", "label", "expected", "tags")  # left out where a family keeps no texts
MAX_ERROR_CHARS = 500


def interaction_id() -> str:
    return f"in_{token_hex(16)}"


def event_of(address: Mapping[str, Any], facts: Mapping[str, Any], *, id: str, store: str) -> dict[str, Any]:
    """``store``: what the family keeps of texts. What it does not keep never leaves this process."""
    told = {name: value for name, value in facts.items() if value is not None}
    if store == "metadata":
        told = {name: value for name, value in told.items() if name not in TEXTS}
    return {"id": id, **address, **told}


def outcome_id() -> str:
    return f"fb_{token_hex(16)}"


def error_text(error: BaseException, *, store: str) -> str:
    """Its kind, and what it says where texts may be kept: that may quote a user."""
    kind = type(error).__name__
    return kind if store == "metadata" else f"{kind}: {error}"[:MAX_ERROR_CHARS]
