"""``langfuse:NAME`` or ``langfuse:NAME@label``: a prompt of the project whose keys are in the caller's environment.

Also the project's records of its use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source, settings_of

ADDRESS, PUBLIC, SECRET = "LANGFUSE_BASE_URL", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"
TIMEOUT_S = 20.0
ROWS_AT_ONCE = 100
OBSERVATIONS, SCORES = "/api/public/v2/observations", "/api/public/v3/scores"
OBSERVED = "core,basic,io,metadata,model,usage,prompt,metrics"


@prompt_source()
def langfuse(reference: str) -> ForeignPrompt:
    name, _, label = reference.partition("@")
    answer = ask(f"/api/public/v2/prompts/{quote(name, safe='')}", {"label": label} if label else {})
    prompt, not_carried = answer.get("prompt"), list[str]()
    messages: list[dict[str, str]] = []
    for message in [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt or ():
        if message.get("type") == "placeholder":
            not_carried.append(f"placeholder {message.get('name')} (a history is {{role: history}} in the file)")
        else:
            content = plain_template(message["content"], f"of {reference}")
            messages.append({"role": str(message["role"]), "content": content})
    config = answer.get("config")
    model = settings_of(config if isinstance(config, Mapping) else {}, not_carried)
    not_carried += [f"tag {tag}" for tag in answer.get("tags") or ()]
    return ForeignPrompt(
        messages=messages,
        model=model,
        description=str(answer.get("commitMessage") or ""),
        not_carried=not_carried,
    )


def read_generations(metadata: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Every generation of the project, a page at a time. Raises InvalidInput.

    ``metadata``: keys whose values are not cut short.
    """
    return _pages(OBSERVATIONS, {"type": "GENERATION", "fields": OBSERVED, "expandMetadata": ",".join(metadata)})


def read_scores() -> Iterator[Mapping[str, Any]]:
    """Every score of the project with what it is of. Raises InvalidInput."""
    return _pages(SCORES, {"fields": "subject"})


def _pages(path: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    cursor: dict[str, Any] = {}
    while True:
        answer = ask(path, {**query, "limit": ROWS_AT_ONCE, **cursor})
        rows, meta = answer.get("data"), answer.get("meta")
        if not isinstance(rows, list):
            raise InvalidInput(f"Langfuse answers without data to {path}.")
        yield from (row for row in rows if isinstance(row, Mapping))
        after = meta.get("cursor") if isinstance(meta, Mapping) else None
        if not after or {"cursor": after} == cursor:
            return
        cursor = {"cursor": after}


def ask(path: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object of Langfuse's API. Raises InvalidInput."""
    import httpx

    address = os.environ.get(ADDRESS) or os.environ.get("LANGFUSE_HOST") or "https://cloud.langfuse.com"
    keys = os.environ.get(PUBLIC), os.environ.get(SECRET)
    if not all(keys):
        raise InvalidInput(
            f"Langfuse asks for keys: set {PUBLIC} and {SECRET}, and {ADDRESS} for a server of your own."
        )
    try:
        answer = httpx.get(
            address.rstrip("/") + path, params=dict(query), auth=(keys[0] or "", keys[1] or ""), timeout=TIMEOUT_S
        )
        value = answer.json() if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise InvalidInput(f"{address} gives no answer that can be read ({type(error).__name__}).") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{address} answers {answer.status_code} to {path}: {answer.text[:200]!r}.")
    return value
