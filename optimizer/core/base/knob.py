"""What a knob of a policy is: its name, its range and, said once, what raising it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from optimizer.core.base.errors import Fault, pointer_of

KnobKind = Literal["share", "number", "integer", "flag", "text", "list", "data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One entry of ``Variant.policy``. ``low`` and ``high`` bound numbers, both included; None: unbounded or no number.

    ``meaning`` is a sentence that says what raising it does to quality and to money or time.
    """

    name: str
    kind: KnobKind
    meaning: str
    default: Any = None
    low: float | None = None
    high: float | None = None

    def fault(self, value: Any) -> str | None:
        """Why ``value`` does not fit, as the end of a sentence; None where it does."""
        if not _FITS[self.kind](value):
            return f"{self.name} is {_SHOWN[self.kind]}, not {value!r}"
        low, high = (0.0, 1.0) if self.kind == "share" else (self.low, self.high)
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = (
                f"from {_bound(low)} to {_bound(high)}"
                if low is not None and high is not None
                else f"at least {_bound(low)}"
                if low is not None
                else f"at most {_bound(high)}"
            )
            wrong = "is too large" if high is not None and value > high else "is too small"
            return f"{self.name} lies {bounds}, and {value!r} {wrong}"
        return None


def _bound(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number that a float holds; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_share(value: Any) -> TypeGuard[float]:
    return is_number(value) and 0 <= value <= 1


def is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "share": is_number,
    "number": is_number,
    "integer": is_whole,
    "flag": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str) and bool(value.strip()),
    "list": lambda value: isinstance(value, list | tuple) and bool(value),
    "data": lambda value: isinstance(value, dict),
}
_SHOWN = {
    "share": "a number from 0 to 1",
    "number": "a finite number",
    "integer": "a whole number",
    "flag": "true or false",
    "text": "a text",
    "list": "a list of at least one value",
    "data": "a mapping",
}


def model_names(knob: str, values: Mapping[str, Any], faults: list[Fault]) -> tuple[str, ...]:
    """A list of model names; one that is no text, or named twice, is a fault at its place."""
    names: list[str] = []
    for i, name in enumerate(values.get(knob, ())):
        if not isinstance(name, str) or not name.strip():
            faults.append(
                Fault(
                    pointer=pointer_of([knob, i]),
                    detail=f"a model is named by a text of config/models.yaml, not {name!r}",
                )
            )
        elif name in names:
            faults.append(
                Fault(
                    pointer=pointer_of([knob, i]), detail=f"{name!r} is named twice in {knob}; each model is asked once"
                )
            )
        else:
            names.append(name)
    return tuple(names)
