"""The declared space of settings: what ``settings`` may vary, and how a point of it becomes a Variant."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optimizer.core.errors import Fault, InvalidInput
from optimizer.core.variant import Variant

MODEL_SETTINGS = ("temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty")
N_ORDERS = 6  # order 0 leaves the examples as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatRange:
    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IntRange:
    name: str
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    name: str
    options: tuple[Any, ...]


Dimension = FloatRange | IntRange | Choice
Point = Mapping[str, Any]  # dimension name -> value


def parse_space(declared: Mapping[str, Any], start: Variant, *, max_examples: int) -> tuple[Dimension, ...]:
    """Dimensions that a search over settings may vary around ``start``.

    ``{"temperature": {"float": [0, 1]}, "max_tokens": {"int": [16, 64]}, "policy.accept": {"choice": [.5, .9]}}``;
    ``examples: {max: 6, order: true}`` varies how many of the start's examples are kept and, with ``order``, their
    order; ``instruction: {propose: true}`` is for strategies that write instructions and is no dimension here.
    A dimension with one possible value is left out.

    Raises:
        InvalidInput: names every entry that is no range, with its JSON pointer.
    """
    dimensions: list[Dimension] = []
    faults: list[Fault] = []
    for name, entry in declared.items():
        if name == "instruction":
            continue
        try:
            dimensions += _examples(entry, start, max_examples) if name == "examples" else [_dimension(name, entry)]
        except (ValueError, TypeError) as problem:
            faults.append(Fault(pointer=f"/space/{name}", detail=str(problem)))
    if faults:
        raise InvalidInput("The declared space cannot be searched: " + "; ".join(f"{f.pointer}: {f.detail}" for f in faults), faults)
    return tuple(d for d in dimensions if not _is_fixed(d))


def point_of(variant: Variant, dimensions: Sequence[Dimension]) -> dict[str, Any] | None:
    """The point at which ``variant`` stands: where a search starts. None when it lies outside the space."""
    point: dict[str, Any] = {}
    for dimension in dimensions:
        value = _value_of(variant, dimension.name)
        if value is None or not _contains(dimension, value):
            return None
        point[dimension.name] = value
    return point


def apply_point(start: Variant, point: Point) -> Variant:
    """``start`` with the point's settings; everything the point does not name stays as it is."""
    model, policy, examples = dict(start.model), dict(start.policy), list(start.examples)
    for name, value in point.items():
        if name.startswith("policy."):
            policy[name.removeprefix("policy.")] = value
        elif name in MODEL_SETTINGS:
            model[name] = value
    order = point.get("examples.order", 0)
    if order:
        random.Random(order).shuffle(examples)
    return replace(start, model=model, policy=policy, examples=tuple(examples[: point.get("examples", len(examples))]))


def _examples(entry: Any, start: Variant, max_examples: int) -> list[Dimension]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("max"), int) or entry["max"] < 0:
        raise ValueError("examples need a whole number {max: N} of 0 or more")
    n = min(entry["max"], max_examples, len(start.examples))
    dimensions: list[Dimension] = [IntRange(name="examples", low=0, high=n)]
    if entry.get("order") and len(start.examples) > 1:
        dimensions.append(IntRange(name="examples.order", low=0, high=N_ORDERS - 1))
    return dimensions


def _dimension(name: str, entry: Any) -> Dimension:
    if name not in MODEL_SETTINGS and not name.startswith("policy."):
        raise ValueError(f"unknown setting; known are examples, instruction, policy.<name>, {', '.join(MODEL_SETTINGS)}")
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError("a range is one of {float: [low, high]}, {int: [low, high]}, {choice: [values]}")
    ((kind, values),) = entry.items()
    if kind == "choice":
        if not isinstance(values, list | tuple) or not values:
            raise ValueError("a choice needs at least one value")
        return Choice(name=name, options=tuple(values))
    if kind not in ("float", "int"):
        raise ValueError(f"unknown kind of range {kind!r}; known are float, int, choice")
    if (
        not isinstance(values, list | tuple)
        or len(values) != 2
        or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values)
    ):
        raise ValueError(f"{kind} needs two numbers [low, high], got {values!r}")
    low, high = values
    if low > high:
        raise ValueError(f"the low end {low} lies above the high end {high}")
    if kind == "float":
        return FloatRange(name=name, low=float(low), high=float(high))
    if int(low) != low or int(high) != high:
        raise ValueError(f"int needs whole numbers, got {values!r}")
    return IntRange(name=name, low=int(low), high=int(high))


def _is_fixed(dimension: Dimension) -> bool:
    if isinstance(dimension, Choice):
        return len(dimension.options) < 2
    return dimension.low == dimension.high


def _contains(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, Choice):
        return value in dimension.options
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high


def _value_of(variant: Variant, name: str) -> Any:
    if name == "examples":
        return len(variant.examples)
    if name == "examples.order":
        return 0
    if name.startswith("policy."):
        return variant.policy.get(name.removeprefix("policy."))
    return variant.model.get(name)
