"""A correction: a user says what the output should have been.

With its input it becomes an Example, split by hash like every other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.strict_json import read_json
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.family.family import Family, kind_of
from optimizer.core.feedback.events import FeedbackEvent
from optimizer.core.feedback.reported import EventRejected, Report


def check_correction(family: Family, report: Report) -> None:
    """Raises EventRejected (malformed) when ``expected`` or the input beside it is not of the form
    that the family declares.
    """
    expected, input = report.get("expected"), report.get("input")
    if expected is None:
        return
    if family.output.field not in expected:
        detail = (
            f"has no {family.output.field!r}, which is the output of family {family.name!r}; it has"
            f" {', '.join(expected)}"
        )
        raise EventRejected("malformed", f"/expected {detail}.", [Fault(pointer="/expected", detail=detail)])
    try:
        kind_of(family).check_correction(family, input, expected)
    except InvalidInput as unusable:
        raise EventRejected("malformed", unusable.detail, unusable.faults) from None


def typed_value(parser: str, text: str) -> Any:
    """The value of the output field as a person types it:
    JSON where the family's output is JSON or a list, else the text itself.
    """
    if parser not in ("json", "list"):
        return text
    try:
        return read_json(text)
    except ValueError as error:
        raise InvalidInput(
            f"What was expected is no JSON ({error}), and the family's output is read as {parser}. In a shell put it in"
            " single quotes."
        ) from error


def example_of(family: Family, event: FeedbackEvent, input: Mapping[str, Any] | None) -> Example | None:
    """None when the input was not reported or is not kept: the event still counts as feedback."""
    if event.expected is None or input is None:
        return None
    try:
        kind_of(family).check_correction(family, input, event.expected)
    except InvalidInput:
        return None
    return make_example(
        id=f"co_{event.id}",  # one per event, whatever ids the imported ones have
        family=family.name,
        input=kind_of(family).kept_of(family.declared_inputs(input)),
        expected=event.expected,
        origin="correction",
        released=family.privacy.examples_from == "any",
        created_at=event.received_at,
        unit_hmac=event.arm.unit_hmac,
        interaction=event.interaction,
    )
