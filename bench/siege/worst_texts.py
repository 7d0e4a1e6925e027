"""Each entrance with its worst texts, of the largest size that it takes by default. A new entrance is a new line of ENTRANCES."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from optimizer.config import Limits

LIMITS = Limits()
ROOM = 1000  # bytes of a body around its text
JSON_LINES = "application/x-ndjson"


def _event(text: str) -> dict[str, Any]:
    return {"family": "triage", "unit": "u", "output": text}


def _filled(unit: str, n_bytes: int) -> str:
    return unit * ((n_bytes - ROOM) // len(unit))


def _members(n: int) -> dict[str, Any]:
    return {f"k{i}": 1 for i in range(n)}


EVENTS, TEXT, OTHER = LIMITS.events_bytes, LIMITS.text_bytes, LIMITS.other_bytes
ENTRANCES: dict[str, tuple[str, Callable[[], Any]]] = {  # case -> (path, what makes the body)
    "feedback: a row of 1-1-1": ("/v1/feedback", lambda: _event(_filled("1-", EVENTS))),
    "feedback: a table of numbers": ("/v1/feedback", lambda: _event(_filled("1234567 7654321 ", EVENTS))),
    "feedback: a row of account heads": ("/v1/feedback", lambda: _event(_filled("aa11 ", EVENTS))),
    "feedback: addresses that end in a dot": ("/v1/feedback", lambda: _event(_filled("x@a.", EVENTS))),
    "feedback: unknown fields": ("/v1/feedback", lambda: _members(LIMITS.events_values - 2)),
    "feedback: a thousand events of unknown fields": ("/v1/feedback", lambda: [_members(198)] * 1000),
    "feedback: lists of nothing": ("/v1/feedback", lambda: [[]] * (EVENTS // 4)),
    "feedback: nested brackets": ("/v1/feedback", lambda: "[" * (EVENTS - ROOM)),
    "import: lines that are no JSON": ("/v1/interactions/import", lambda: "x\n" * 60_000),
    "import: blank lines": ("/v1/interactions/import", lambda: "\n" * (EVENTS - ROOM)),
    "render: unknown variables": ("/v1/families/triage/render", lambda: {"variables": _members(LIMITS.values - 5)}),
    "render: a variable of brackets": ("/v1/families/triage/render", lambda: {"variables": {"text": _filled("[", TEXT)}}),
    "variants: unknown knobs": ("/v1/families/triage/variants", lambda: {"from": "v", "policy": _members(LIMITS.values - 5)}),
    "freeze: unknown members": ("/v1/freeze", lambda: _members(LIMITS.values - 5)),
    "freeze: a long name above faults": ("/v1/freeze", lambda: {"n" * (OTHER // 2): {f"k{i}": "\0" for i in range(6000)}}),
}


def body_of(case: str) -> tuple[str, bytes, str]:
    """(path, body, media type)."""
    path, make = ENTRANCES[case]
    body = make()
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    return path, text.encode(), JSON_LINES if path.endswith("/import") else "application/json"
