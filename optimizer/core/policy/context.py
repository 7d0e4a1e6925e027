"""Puts tool results back into the prompt: a weak model that ignores messages of role tool reads the last message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.base.knob import Knob

MAX_RESULT_CHARS = 4000
CUT = " … (the rest stands in the tool's message above)"

TOOL_RESULTS = Knob(
    name="context.tool_results",
    kind="flag",
    default=False,
    meaning=(
        "Whether results of tools are said again in a last message before the model answers; true: it uses them more"
        " often, and each such request is longer and dearer."
    ),
)
KNOBS = (TOOL_RESULTS,)


def tool_results(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(name, text) of the tool messages behind the last user message; a tool without a name is called ``tool``."""
    last = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    names: dict[Any, str] = {}
    results = []
    for message in messages[last + 1 :]:
        for call in message.get("tool_calls") or ():
            if isinstance(call, Mapping):
                names[call.get("id")] = str((call.get("function") or {}).get("name") or "tool")
        if message.get("role") == "tool":
            name = message.get("name") or names.get(message.get("tool_call_id")) or "tool"
            content = message.get("content")
            if isinstance(content, str):
                text = content
            elif isinstance(content, Sequence):
                text = "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
            else:
                text = ""
            results.append((str(name), text))
    return results


def with_tool_results(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the tools' results repeated at the end; unchanged unless the last message is a tool's."""
    plain = [dict(message) for message in messages]
    nonempty = [(name, text) for name, text in tool_results(plain) if text.strip()]
    if not nonempty or plain[-1].get("role") != "tool":
        return plain
    results = "\n".join(
        f"[{name}] {text if len(text) <= MAX_RESULT_CHARS else text[:MAX_RESULT_CHARS] + CUT}"
        for name, text in nonempty
    )
    content = (
        f"These are the results of the tools you called:\n{results}\nAnswer the request above, and base your answer on"
        " these results."
    )
    return [*plain, {"role": "user", "content": content}]
