"""Whether a recorded item can be learned from: at its import, and where somebody corrects what it was worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from optimizer.core.errors import InvalidInput
from optimizer.core.policy.content.fields import values_of


def item_fault(input: Mapping[str, Any], expected: Mapping[str, Any], *, known: Collection[str], worth: str) -> str | None:
    """Why not, in words that quote no value; None where it can. Values that are missing or empty were not measured.

    Args:
        known: the family's inputs.
        worth: the field of ``expected`` that says what the item turned out to be worth, from 0 to 1.
    """
    unknown = [name for name in input if name not in known]
    if unknown:
        return f"the family has no input {unknown[0]!r}"
    measured = measured_of(input)
    if not measured:
        return "nothing was measured of the item"
    try:
        values_of(measured)
    except InvalidInput as fault:
        return f"of another kind than declared: {', '.join(f.pointer.strip('/') for f in fault.faults)}"
    quality = expected.get(worth)
    if not isinstance(quality, int | float) or isinstance(quality, bool) or not 0 <= quality <= 1:
        return f"expected has no {worth!r} from 0 to 1"
    return None


def measured_of(input: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were measured."""
    return {name: value for name, value in input.items() if value not in (None, "")}
