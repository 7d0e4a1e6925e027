"""Shows what a change did, whether a job told it here or the server's answer did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.cli.output import plain, show, tell_change


def show_told(as_json: bool, told: Any) -> None:
    """``told``: a job's Told, or the server's answer with the same members."""
    values: Mapping[str, Any] = told if isinstance(told, Mapping) else plain(told)
    subject = values.get("rollout") or values.get("champion") or {}
    subject = subject if isinstance(subject, Mapping) else plain(subject) if not isinstance(subject, str) else {"id": subject}
    show(as_json, values, lambda out: None)
    family = values.get("family") or subject.get("family") or ""
    what = values.get("what") or f"now {subject.get('status') or subject.get('variant') or 'changed'}"
    act = (isinstance(told, Mapping) and values.get("decision")) or values  # the server's `forced` is the whole rollout's
    forced = " (forced)" if act.get("forced") else ""
    tell_change(
        f"{family}: {what}{forced}.",
        why=str(values.get("why") or ""),
        undo=str(values.get("undo") or ""),
        then=str(values.get("next") or ""),
    )
