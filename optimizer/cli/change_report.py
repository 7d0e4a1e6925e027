"""Shows what a change did, whether a job reports it here or the server does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.cli.output import plain, show, tell_change


def show_change(as_json: bool, report: Any) -> None:
    """``report``: a job's ChangeReport, or the server's answer with the same members."""
    values: Mapping[str, Any] = report if isinstance(report, Mapping) else plain(report)
    show(as_json, values, lambda out: None)
    act = (isinstance(report, Mapping) and values["decision"]) or values  # the server's `forced` is the whole rollout's
    forced = " (forced)" if act["forced"] and values.get("changed", True) else ""
    tell_change(f"{values['family']}: {values['what']}{forced}.", why=values["why"], undo=values["undo"] or "", then=values["next"] or "")
