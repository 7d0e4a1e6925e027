"""What a key of role read sees: figures. Text that a person or a model wrote is null in its answers."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from api.prompt import to_json
from optimizer.core.base.errors import InvalidFamily

TEXTS = frozenset(
    {
        # what users sent, what models answered, what people made of it
        "input", "output", "expected", "label", "tags", "error", "conversation", "parts", "later_parts", "payload",
        "answer",
        # what prompts are made of, and what searches tried and learned
        "messages", "examples", "tools", "response_format", "policy", "stop", "definition", "space", "params",
        "findings",
        # sentences that people wrote, or that may quote them
        "note", "reason", "reasons", "why", "detail", "description", "problem", "last_error",
    }
)  # fmt: skip


def without_texts(answer: Response) -> Response:
    """The answer with every member of TEXTS set to null, at any depth. What is no JSON holds figures alone."""
    if (
        answer.status_code >= 300
        or "json" not in answer.headers.get("content-type", "")
        or not isinstance(answer.body, bytes)
    ):
        return answer
    body = to_json(_figures(json.loads(answer.body)))
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(body, answer.status_code, headers)


def without_quotes(error: InvalidFamily) -> InvalidFamily:
    """The error without what it quotes of the file."""
    return InvalidFamily("The family's file cannot be used. A key of role read-texts is told what is wrong with it.")


def _figures(value: Any) -> Any:
    if isinstance(value, list):
        return [_figures(item) for item in value]
    if isinstance(value, dict):
        return {name: None if name in TEXTS else _figures(item) for name, item in value.items()}
    return value
