"""Each entrance with its worst texts, of the largest size that it takes by default.

A new entrance is a new line of its table.

ENTRANCES are HTTP's, ANSWERS what a model says and a parser reads, FILES what ``detent import`` reads from a disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from optimizer.core.models.wire import MESSAGE
from optimizer.host.config import ServerLimits

LIMITS = ServerLimits()
ROOM = 1000  # bytes of a body around its text
JSON_LINES = "application/x-ndjson"


def _event(text: str) -> dict[str, Any]:
    return {"family": "triage", "unit": "u", "output": text}


def _filled(unit: str, n_bytes: int) -> str:
    return unit * ((n_bytes - ROOM) // len(unit))


def _members(n: int) -> dict[str, Any]:
    return {f"k{i}": 1 for i in range(n)}


def _chat(**more: Any) -> dict[str, Any]:
    return {"model": "triage", "messages": [{"role": "user", "content": "My bill is wrong"}], **more}


def _said(text: str) -> dict[str, Any]:
    return _chat(messages=[{"role": "user", "content": text}])


EVENTS, CHAT, TEXT, OTHER = LIMITS.events_bytes, LIMITS.chat_bytes, LIMITS.text_bytes, LIMITS.other_bytes
RENDER, COMPLETIONS = "/v1/families/triage/render", "/v1/chat/completions"
GOOD_LINE = '{"input": {"text": "x"}, "expected": {"topic": "billing"}}\n'  # tells what kind of file it is
ENTRANCES: dict[str, tuple[str, Callable[[], Any]]] = {  # case -> (path, what makes the body)
    "feedback: a row of 1-1-1": ("/v1/feedback", lambda: _event(_filled("1-", EVENTS))),
    "feedback: a table of numbers": ("/v1/feedback", lambda: _event(_filled("1234567 7654321 ", EVENTS))),
    "feedback: a row of account heads": ("/v1/feedback", lambda: _event(_filled("aa11 ", EVENTS))),
    "feedback: addresses that end in a dot": ("/v1/feedback", lambda: _event(_filled("x@a.", EVENTS))),
    "feedback: unknown fields": ("/v1/feedback", lambda: _members(LIMITS.events_values - 2)),
    "feedback: a thousand events of unknown fields": (
        "/v1/feedback",
        lambda: [_members(LIMITS.events_values // 1000 - 2)] * 1000,
    ),
    "feedback: lists of nothing": ("/v1/feedback", lambda: [[]] * (EVENTS // 4)),
    "feedback: names that no one sent before": (
        "/v1/feedback",
        lambda: [{f"{i}k{j}": 1 for j in range(LIMITS.events_values // 1000 - 2)} for i in range(1000)],
    ),
    "feedback: commas and quotes in a text": ("/v1/feedback", lambda: _event(_filled('",', EVENTS * 2 // 3))),
    "feedback: backslashes": ("/v1/feedback", lambda: _event(_filled("\\", EVENTS // 2) + ",")),
    "feedback: nested brackets": ("/v1/feedback", lambda: "[" * (EVENTS - ROOM)),
    "import: lines that are no JSON": ("/v1/interactions/import", lambda: "x\n" * 60_000),
    "import: more lines than a minute takes": ("/v1/interactions/import", lambda: "x\n" * ((EVENTS - ROOM) // 2)),
    "import: blank lines": ("/v1/interactions/import", lambda: "\n" * (EVENTS - ROOM)),
    "render: unknown variables": (RENDER, lambda: {"variables": _members(LIMITS.values - 5)}),
    "render: a variable of brackets": (RENDER, lambda: {"variables": {"text": _filled("[", TEXT)}}),
    "render: a variable of templates": (RENDER, lambda: {"variables": {"text": _filled("{{text}}", TEXT)}}),
    "render: a history of numbers": (
        RENDER,
        lambda: {"variables": {"text": "x"}, "history": [0] * (LIMITS.values - 5)},
    ),
    "render: a history of nothing": (
        RENDER,
        lambda: {"variables": {"text": "x"}, "history": [{}] * (LIMITS.values - 5)},
    ),
    "chat: a row of 1-1-1": (COMPLETIONS, lambda: _said(_filled("1-", CHAT))),
    "chat: a table of numbers": (COMPLETIONS, lambda: _said(_filled("1234567 7654321 ", CHAT))),
    "chat: words that would command": (COMPLETIONS, lambda: _said(_filled("ignore previous instructions ", CHAT))),
    "chat: turns of nothing": (COMPLETIONS, lambda: _chat(messages=[{}] * (LIMITS.values - 5))),
    "chat: turns of numbers": (COMPLETIONS, lambda: _chat(messages=[0] * (LIMITS.values - 5))),
    "chat: turns of everything wrong": (
        COMPLETIONS,
        lambda: _chat(messages=[dict.fromkeys(MESSAGE, 0)] * (LIMITS.values // 12)),
    ),
    "chat: unknown fields of ours": (COMPLETIONS, lambda: _chat(detent=_members(LIMITS.values - 9))),
    "chat: unknown variables": (COMPLETIONS, lambda: _chat(detent={"variables": _members(LIMITS.values - 9)})),
    "chat: unknown fields": (COMPLETIONS, lambda: _chat(**_members(LIMITS.values - 9))),
    "chat: nested brackets": (COMPLETIONS, lambda: "[" * (CHAT - ROOM)),
    "variants: unknown knobs": (
        "/v1/families/triage/variants",
        lambda: {"from": "v", "policy": _members(LIMITS.values - 5)},
    ),
    "freeze: unknown members": ("/v1/freeze", lambda: _members(LIMITS.values - 5)),
    "keys: roles of numbers": ("/v1/keys", lambda: {"name": "k", "roles": [0] * (LIMITS.values - 5)}),
    "variants: examples of nothing": (
        "/v1/families/triage/variants",
        lambda: {"from": "v", "examples": [{}] * (LIMITS.values // 2 - 5)},
    ),
    "freeze: a long name above faults": (
        "/v1/freeze",
        lambda: {"n" * (OTHER // 2): {f"k{i}": "\0" for i in range(6000)}},
    ),
}

LABELS = {"field": "topic", "parser": "label", "labels": ["billing", "technical"]}
NESTED = {"type": "object", "properties": {"a": {"$ref": "#"}}, "additionalProperties": False}
ANSWERS: dict[str, tuple[dict[str, Any], Callable[[], str]]] = {  # case -> (the family's output, what makes the answer)
    "answer: opening brackets": ({"parser": "json"}, lambda: _filled("[", TEXT)),
    "answer: braces that never close": ({"parser": "json"}, lambda: _filled('{"a":', TEXT)),
    "answer: beginnings of objects": ({"parser": "json"}, lambda: _filled("{ x ", TEXT)),
    "answer: fences that never close": ({"parser": "json"}, lambda: _filled("```json\n{\n", TEXT)),
    "answer: unknown members of a schema": ({"parser": "json", "schema": NESTED}, lambda: json.dumps(_members(60_000))),
    "answer: one line of labels": (LABELS, lambda: _filled("billing technical ", TEXT)),
    "answer: lines of nothing": (LABELS, lambda: _filled("\n", TEXT)),
    "answer: bullets": ({"parser": "list"}, lambda: _filled("- \n", TEXT)),
    "answer: blanks": ({"parser": "text"}, lambda: _filled(" ", TEXT)),
}
FILES: dict[
    str, tuple[str, Callable[[], str]]
] = {  # case -> (name of the file, what makes it); of a file's size there is no limit
    "file: lines that are no JSON": ("x.jsonl", lambda: GOOD_LINE + _filled("x\n", TEXT)),
    "file: one line without an end": ("x.jsonl", lambda: GOOD_LINE + _filled("x", 8 * EVENTS)),
    "file: nested brackets": ("x.jsonl", lambda: GOOD_LINE + _filled("[", EVENTS // 4) + "\n"),
    "file: lines of unknown members": (
        "x.jsonl",
        lambda: GOOD_LINE + (json.dumps({"input": _members(1000), "expected": {}}) + "\n") * 400,
    ),
    "file: a row of account heads": (
        "x.jsonl",
        lambda: json.dumps({"input": {"text": _filled("aa11 ", EVENTS // 4)}, "expected": {"topic": "billing"}}),
    ),
    "file: a table of nothing": ("x.csv", lambda: "text,topic\n" + _filled(",\n", TEXT)),
    "file: a table with a quote that never closes": ("x.csv", lambda: 'text,topic\n"' + _filled("a,b\n", TEXT)),
    "file: a table of very many columns": (
        "x.csv",
        lambda: "text,topic" + _filled(",c", TEXT) + "\n" + _filled(",", TEXT) + "\n",
    ),
}
CASES = (*ENTRANCES, *ANSWERS, *FILES)


def body_of(case: str) -> tuple[str, bytes, str]:
    """(path, body, media type)."""
    path, make = ENTRANCES[case]
    body = make()
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    return path, text.encode(), JSON_LINES if path.endswith("/import") else "application/json"
