"""Events as the server takes them: what came of a prompt, at once or in three days."""

from __future__ import annotations

import json
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

TEXTS = ("input", "output", "label", "expected", "tags")
SIGNALS = ("kept", "retried", "edited", "escalated")  # tags of which the server makes an outcome: no texts
MAX_ERROR_CHARS = 500


def new_id(kind: str) -> str:
    return f"{kind}_{token_hex(16)}"


def event_of(address: Mapping[str, Any], facts: Mapping[str, Any], *, id: str) -> dict[str, Any]:
    return {"id": id, **address, **{name: value for name, value in facts.items() if value is not None}}


def without_texts(event: bytes) -> bytes:
    """Of a family that keeps none. Of an error its kind stays: what it says may quote a user."""
    whole = json.loads(event)
    rest = {name: value for name, value in whole.items() if name not in TEXTS}
    tags = whole["tags"] if isinstance(whole.get("tags"), dict) else {}
    if signals := {name: tags[name] for name in SIGNALS if isinstance(tags.get(name), bool | int | float)}:
        rest["tags"] = signals
    if "error" in rest:
        kind, colon, _ = str(rest["error"]).partition(":")
        rest["error"] = kind if colon and kind.isidentifier() else "error"
    return json.dumps(rest, separators=(",", ":")).encode()


def error_text(error: BaseException) -> str:
    """With the application's own words, where it gives any: they may raise whatever they like."""
    if isinstance(error, GeneratorExit):  # whoever read the answer has left, as the server's gateway tells it
        return "client_gone: the answer was left before its end"
    try:
        return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]
    except Exception:
        return type(error).__name__
