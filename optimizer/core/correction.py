"""A correction: somebody says what the output should have been. With its input it becomes an Example, split by hash as every other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.dataset import Example, make_example
from optimizer.core.errors import Fault
from optimizer.core.family import Family
from optimizer.core.feedback import FeedbackEvent
from optimizer.core.policy.content.item import item_fault, measured_of
from optimizer.core.report import EventRejected, Report


def check_correction(family: Family, report: Report) -> None:
    """Raises EventRejected (malformed) when ``expected`` or the input beside it is not of the form that the family declares."""
    expected, input = report.get("expected"), report.get("input")
    if expected is None:
        return
    if family.output.field not in expected:
        detail = f"has no {family.output.field!r}, which is the output of family {family.name!r}; it has {', '.join(expected)}"
        raise EventRejected("malformed", f"/expected {detail}.", [Fault(pointer="/expected", detail=detail)])
    if family.kind == "policy":
        fault = (
            item_fault(declared_inputs(family, input), expected, known=family.inputs, worth=family.output.field)
            if input is not None
            else None
        )
        if fault is not None:
            raise EventRejected(
                "malformed", f"No item of family {family.name!r} can be learned from: {fault}.", [Fault(pointer="/input", detail=fault)]
            )
        return
    missing = [name for name in family.inputs if input is not None and name not in input]
    if missing:
        detail = f"has no {', '.join(missing)}, which family {family.name!r} needs to learn from a correction"
        raise EventRejected("malformed", f"/input {detail}.", [Fault(pointer="/input", detail=detail)])


def example_of(family: Family, event: FeedbackEvent, input: Mapping[str, Any] | None) -> Example | None:
    """None when nobody told the input, or it is not kept: the event still counts as feedback."""
    if event.expected is None or input is None:
        return None
    if family.kind == "policy":
        input = measured_of(declared_inputs(family, input))
        if item_fault(input, event.expected, known=family.inputs, worth=family.output.field) is not None:
            return None
    elif any(name not in input for name in family.inputs):
        return None
    return make_example(
        id=f"co_{event.id}",  # one per event, whatever ids the imported ones have
        family=family.name,
        input=declared_inputs(family, input),
        expected=event.expected,
        origin="correction",
        released=family.privacy.examples_from == "any",
        created_at=event.received_at,
        unit_hmac=event.arm.unit_hmac,
        interaction=event.interaction,
    )


def declared_inputs(family: Family, input: Mapping[str, Any]) -> dict[str, Any]:
    return {name: input[name] for name in family.inputs if name in input}
