"""Dialogs as applications keep them: a conversation with its prompts, each of which is reported as an interaction.

    {"dialog_id": "001", "timestamp": RFC 3339, "user_id": "tg:12345",
     "prompts": [{"text": "...", "response_time_ms": 3200, "provider": "model", "status": "success"}],
     "insights": {"worked_well": "...", "issues": "...", "suggestions": "..."}}

Members that are not named here are kept as tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PROMPTS, TEXT, INSIGHTS = "prompts", "text", "insights"
MOST_PROMPTS = 1000  # of one dialog
_OF_DIALOG = {"dialog_id", "timestamp", "user_id", PROMPTS, INSIGHTS}
_OF_PROMPT = {"response_time_ms", "provider", "status"}

PromptEvent = tuple[dict[str, Any] | None, str | None]  # an event, or None and why there is none


def is_dialog(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get(PROMPTS), list)


def events_of_dialog(
    dialog: Mapping[str, Any], family: str, inputs: Mapping[str, str]
) -> Iterator[tuple[str, PromptEvent]]:
    """(which prompt, its event) of each; the ids are made of the dialog's, so that it may be sent again.

    Args:
        inputs: input of the family > member of a prompt, such as {"question": "text"}.
    """
    id, prompts = dialog.get("dialog_id"), dialog[PROMPTS]
    if not isinstance(id, str) or not id.strip():
        yield "the dialog", (None, "it has no dialog_id, a text by which it is known when it is sent again")
        return
    if len(prompts) > MOST_PROMPTS:
        yield "the dialog", (None, f"it has {len(prompts):,} prompts, and {MOST_PROMPTS:,} are read of one")
        return
    if not prompts:
        yield "the dialog", (None, "it has no prompts")
    insights = {INSIGHTS: dialog[INSIGHTS]} if dialog.get(INSIGHTS) else {}
    for n, prompt in enumerate(prompts, start=1):
        where = f"prompt {n}"
        if not isinstance(prompt, Mapping):
            yield where, (None, "it is no object")
            continue
        missing = [member for member in inputs.values() if prompt.get(member) in (None, "")]
        if missing:
            yield where, (None, f"it has no {' and no '.join(missing)}")
            continue
        status = prompt.get("status")
        error = None if status in (None, "", "success") else f"status {status}"
        if error is None and prompt.get("response_time_ms") is None:
            yield where, (None, "it says neither response_time_ms nor a status other than success, so nothing of it")
            continue
        tags = {
            **{name: value for name, value in dialog.items() if name not in _OF_DIALOG},
            **{name: value for name, value in prompt.items() if name not in {*_OF_PROMPT, *inputs.values()}},
            **insights,
        }
        insights = {}  # of the first that reports something
        event = {
            "id": f"{id}:{n:03d}",
            "family": family,
            "unit": str(dialog.get("user_id") or f"dialog {id}"),
            "conversation": id,
            "input": {name: prompt[member] for name, member in inputs.items()},
            "model": prompt.get("provider"),
            "latency_ms": prompt.get("response_time_ms"),
            "error": error,
            "occurred_at": dialog.get("timestamp"),
            "tags": tags or None,
        }
        yield where, ({name: value for name, value in event.items() if value is not None}, None)
