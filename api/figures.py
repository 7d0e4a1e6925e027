"""What a key of role read sees: figures. Text that a person or a model wrote is null in its answers."""

from __future__ import annotations

import json

from starlette.responses import Response

from api.prompt import to_json
from optimizer.core.base.errors import InvalidFamily
from optimizer.core.base.texts import figures_of


def without_texts(answer: Response) -> Response:
    """The answer with every member of TEXTS set to null, at any depth. What is no JSON holds figures alone."""
    if (
        answer.status_code >= 300
        or "json" not in answer.headers.get("content-type", "")
        or not isinstance(answer.body, bytes)
    ):
        return answer
    body = to_json(figures_of(json.loads(answer.body)))
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(body, answer.status_code, headers)


def without_quotes(error: InvalidFamily) -> InvalidFamily:
    """The error without what it quotes of the file."""
    return InvalidFamily("The family's file cannot be used. A key of role read-texts is told what is wrong with it.")
