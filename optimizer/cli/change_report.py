"""Shows what a change of a rollout or champion did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.cli.output import say, show, tell_change


def show_change(as_json: bool, answer: Mapping[str, Any]) -> None:
    show(as_json, answer, lambda out: None)
    act = answer["decision"] or answer  # the rollout's own ``forced`` says that some act on it was
    forced = " (forced)" if act["forced"] and answer["changed"] else ""
    tell_change(
        f"{answer['family']}: {answer['what']}{forced}.",
        why=answer["why"],
        undo=answer["undo"] or "",
        then=answer["next"] or "",
    )
    if answer.get("warning"):
        say(answer["warning"], "yellow")
