"""Outcomes without thumbs: tags on how an answer was used become an outcome, by the family's rule under ``outcome``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import Fault
from optimizer.core.family.family import Family
from optimizer.core.family.settings import SIGNALS, Signal, metric_of_signals
from optimizer.core.feedback.reported import OF_OUTCOME, EventRejected, Report


def goodness(signal: Signal, value: Any) -> float | None:
    """How good the outcome is by this tag alone, in [0, 1]; None for a value that a tag of this name has not."""
    if not (isinstance(value, bool) or (signal == "edited" and isinstance(value, int | float) and 0 <= value <= 1)):
        return None
    return float(value) if signal == "kept" else 1 - float(value)


def signals_of(tags: Mapping[str, Any]) -> dict[Signal, float]:
    """How good the outcome is by each signal among the tags."""
    return {name: good for name in SIGNALS if (good := goodness(name, tags.get(name))) is not None}


OR_SHARE = ", or the share that was changed, from 0 to 1"


def with_outcome(family: Family, report: Report) -> Report:
    """The report with the outcome that its tags make, of source ``system``.

    It stays as it is where a tag of the family's rule is missing, or it has an outcome of its own. Raises EventRejected
    where a tag of the rule has another value, or where the event then reports nothing.
    """
    tags = report.get("tags") or {}
    rule = family.outcome
    own = not OF_OUTCOME.isdisjoint(report.values) or report.get("source") not in (None, "system")
    if rule and not own and rule.keys() <= tags.keys():
        faults = [
            Fault(pointer=f"/tags/{name}", detail=f"must be true or false{OR_SHARE if name == 'edited' else ''}")
            for name in rule
            if goodness(name, tags[name]) is None
        ]
        if faults:
            details = "; ".join(f"{fault.pointer} {fault.detail}" for fault in faults)
            raise EventRejected("malformed", f"The event is malformed: {details}.", faults)
        good = signals_of(tags)
        score = sum(weight * good[name] for name, weight in rule.items()) / sum(rule.values())
        is_binary = metric_of_signals(rule).field == "success"
        outcome = {"success": score == 1} if is_binary else {"score": min(1.0, max(0.0, score))}
        return report._replace(values={**report.values, "source": "system", **outcome}, is_feedback=True)
    if not (report.is_interaction or report.is_feedback):
        needed = f"its file makes one of {', '.join(rule)} together" if rule else "its file has no `outcome`"
        raise EventRejected(
            "malformed",
            f"The event is malformed: it reports nothing. Tags such as kept are an outcome of {family.name!r} only as"
            f" its family.yaml says under `outcome`, and {needed}.",
        )
    return report
