"""The dimensions of a search over settings: from the declared space, and from a point back to a Variant."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.variant import VARIABLE, Variant, is_to_be_learned, space_faults

LEAK = "it quotes an example that no proposer may see: eight words in a row of one that is sealed or not released"
N_ORDERS = 6  # orders of the examples; order 0 is theirs as they are
MOST_LISTED = 10_000  # a space with more points is not listed before points are drawn


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
class ChoiceDimension:
    name: str
    options: tuple[Any, ...]


Dimension = FloatRange | IntRange | ChoiceDimension
Point = Mapping[str, Any]  # dimension name -> value


def parse_space(declared: Mapping[str, Any], start: Variant, *, max_examples: int) -> tuple[Dimension, ...]:
    """Dimensions that a search over settings may vary around ``start``.

    ``examples: {max: 6, order: true}`` varies how many of the start's examples are kept and, with ``order``, their
    order. ``instruction: {propose: true}`` is for strategies that write instructions, and is no dimension. Nor is a
    predictor that is to be learned, which strategy replay trains. A dimension with one possible value is left out.

    Raises:
        InvalidInput: names every entry that is no range, with its JSON pointer.
    """
    require_searchable(declared)
    dimensions = [d for name, entry in declared.items() for d in _dimensions(name, entry, start, max_examples)]
    return tuple(d for d in dimensions if (d.low < d.high if isinstance(d, FloatRange) else len(_values(d) or ()) > 1))


def require_searchable(declared: Any, inputs: Collection[str] | None = None) -> None:
    """Raises InvalidInput with every fault of a space; see ``space_faults``."""
    if faults := space_faults(declared, inputs):
        raise InvalidInput(
            "The declared space cannot be searched: " + "; ".join(f"{f.pointer}: {f.detail}" for f in faults), faults
        )


def point_of(variant: Variant, dimensions: Sequence[Dimension]) -> dict[str, Any] | None:
    """The point at which ``variant`` stands, where a search starts; None when it lies outside the space."""
    point: dict[str, Any] = {}
    for dimension in dimensions:
        value = _value_of(variant, dimension.name)
        if value is None or not _contains(dimension, value):
            return None
        point[dimension.name] = value
    return point


def point_near(variant: Variant, dimensions: Sequence[Dimension]) -> Point:
    """The Variant's point; where a dimension does not hold its value, that dimension's first."""
    return {
        d.name: value
        if _contains(d, value := _value_of(variant, d.name))
        else (d.options[0] if isinstance(d, ChoiceDimension) else d.low)
        for d in dimensions
    }


def n_points(dimensions: Sequence[Dimension]) -> float:
    """How many points the space has; infinite where a float varies."""
    sizes = [float(len(values)) if (values := _values(d)) is not None else inf for d in dimensions]
    return prod(sizes)


def drawn_points(dimensions: Sequence[Dimension], *, seed: int, n_wanted: int = 0) -> Iterator[dict[str, Any]]:
    """Points in an order drawn by the seed.

    Each comes once where they are at most ``MOST_LISTED``, or ten times the points that are wanted; else they are as
    many independent draws, of which few repeat another.
    """
    rng = random.Random(seed)
    values = {d.name: _values(d) for d in dimensions}
    most, n = max(MOST_LISTED, 10 * n_wanted), n_points(dimensions)
    if n <= most:
        order = list(range(int(n)))
        rng.shuffle(order)
        for place in order:
            point = {}
            for d in reversed(dimensions):
                options = values[d.name] or ()
                place, at = divmod(place, len(options))
                point[d.name] = options[at]
            yield dict(reversed(point.items()))
        return
    for _ in range(most):
        yield {
            d.name: rng.uniform(d.low, d.high) if isinstance(d, FloatRange) else rng.choice(values[d.name] or ())
            for d in dimensions
        }


def most_points(declared: Mapping[str, Any], start: Variant, *, max_examples: int) -> float:
    """The most points beside its own that a search around ``start`` may try, even once it shows ``max_examples``."""
    dimensions = parse_space(declared, start, max_examples=max_examples)
    n = n_points([d for d in dimensions if not d.name.startswith("examples")])
    if "examples" in declared:
        n_examples = min(int(declared["examples"]["max"]), max_examples)
        n *= (n_examples + 1) * (N_ORDERS if declared["examples"].get("order") and n_examples > 1 else 1)
    return n - (point_of(start, dimensions) is not None)


def n_listed(declared: Mapping[str, Any], start: Variant) -> int:
    """How many instructions the space lists beside the start's own."""
    return len({*(declared.get("instruction") or {}).get("choices", ())} - {instruction_of(start)})


def apply_point(start: Variant, point: Point) -> Variant:
    """``start`` with the point's settings. What the point does not name stays as it is."""
    model, policy, examples = dict(start.model), dict(start.policy), list(start.examples)
    for name, value in point.items():
        if name.startswith("policy."):
            policy[name.removeprefix("policy.")] = value
        elif name == "instruction":
            start = with_instruction(start, value)
        elif not name.startswith("examples"):
            model["name" if name == "model" else name] = value
    order = point.get("examples.order", 0)
    if order:
        random.Random(order).shuffle(examples)
    return replace(start, model=model, policy=policy, examples=tuple(examples[: point.get("examples", len(examples))]))


def neighbours(point: Point, dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Points that differ from ``point`` in one dimension. When few points may be tried, they tell most about each
    setting.
    """
    return [{**point, d.name: value} for d in dimensions for value in _beside(d, point[d.name])]


def _beside(dimension: Dimension, value: Any) -> list[Any]:
    if isinstance(dimension, ChoiceDimension):
        return [option for option in dimension.options if option != value]
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange):
        return [n for n in (int(value) - 1, int(value) + 1) if low <= n <= high]
    return [value + step for step in ((low - value) / 2, (high - value) / 2) if step]


def _dimensions(name: str, entry: Mapping[str, Any], start: Variant, max_examples: int) -> list[Dimension]:
    if name == "examples":
        n = min(entry["max"], max_examples, len(start.examples))
        orders = [IntRange(name="examples.order", low=0, high=N_ORDERS - 1)] if entry.get("order") and n > 1 else []
        return [IntRange(name="examples", low=0, high=n), *orders]
    if name == "instruction" and "choices" in entry:
        entry = {"choices": entry["choices"]}
    ((form, value),) = entry.items()
    if form == "choices":
        distinct = {repr(option): option for option in value if not is_to_be_learned(name, option)}
        return [ChoiceDimension(name=name, options=tuple(distinct.values()))]
    if form == "float":
        return [FloatRange(name=name, low=float(value[0]), high=float(value[1]))]
    return [IntRange(name=name, low=value[0], high=value[1])] if form == "int" else []


def _values(dimension: Dimension) -> Sequence[Any] | None:
    """All values of a dimension; None where it is a range of floats."""
    if isinstance(dimension, FloatRange):
        return None
    return dimension.options if isinstance(dimension, ChoiceDimension) else range(dimension.low, dimension.high + 1)


def _contains(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, ChoiceDimension):
        return value in dimension.options
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high


def _value_of(variant: Variant, name: str) -> Any:
    if name == "examples":
        return len(variant.examples)
    if name == "examples.order":
        return 0
    if name == "instruction":
        return instruction_of(variant)
    if name.startswith("policy."):
        return variant.policy.get(name.removeprefix("policy."))
    return variant.model.get("name" if name == "model" else name)


def instruction_of(variant: Variant) -> str | None:
    """The first system message; None where there is none."""
    return next((m["content"] for m in variant.messages if m["role"] == "system"), None)


def with_instruction(variant: Variant, text: str) -> Variant:
    """The variant with ``text`` as its first system message; one without gets it at the front."""
    before = variant.messages
    at = next((i for i, m in enumerate(before) if m["role"] == "system"), None)
    if at is None:
        return replace(variant, messages=({"role": "system", "content": text}, *before))
    return replace(variant, messages=(*before[:at], {**before[at], "content": text}, *before[at + 1 :]))


def doc_of(variant: Variant) -> str:
    """What a proposer is told that the model is told now: the instruction, or the message itself where
    there is none.
    """
    instruction = instruction_of(variant)
    return instruction if instruction is not None else VARIABLE.sub(r"[\1]", str(variant.messages[0]["content"]))


def instruction_fault(
    before: Variant,
    written: Variant,
    seen: Collection[str],
    fits: Callable[[Variant], bool],
    leaks: Callable[[Variant], bool],
) -> str | None:
    """The sentence on why a written instruction makes no candidate; None where it makes one.

    Args:
        seen: ids of variants that were proposed before.
        fits, leaks: as in ``SearchSetting``.
    """
    text = instruction_of(written) or ""
    if not text.strip():
        return "the proposer wrote no instruction"
    if written.id in seen:
        return "this instruction was proposed before"
    if set(VARIABLE.findall(text)) != set(VARIABLE.findall(instruction_of(before) or "")):
        return "it names other variables than the instruction before it"
    if not fits(written):
        return "it makes a longer request than this study allows (max_request_bytes in its definition)"
    return LEAK if leaks(written) else None
