"""``langfuse:NAME`` or ``langfuse:NAME@label``: a prompt of the project whose keys the caller's environment has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source, settings_of

ADDRESS, PUBLIC, SECRET = "LANGFUSE_BASE_URL", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"
TIMEOUT_S = 20.0


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
            content = plain_template(str(message["content"]), f"of {reference}")
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
    except (httpx.HTTPError, ValueError) as error:
        raise InvalidInput(f"{address} gives no answer that can be read ({type(error).__name__}).") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{address} answers {answer.status_code} to {path}: {answer.text[:200]!r}.")
    return value
