"""Sizes of models, and the base prompt that a family declares for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = get_args(Size)
SMALLEST: Size = "small"
DEFAULT_SIZE: Size = "medium"  # of a model of which nothing is said


def with_current_base(prompt: Mapping[str, Any], model: Any, sizes: Mapping[str, Size]) -> dict[str, Any]:
    """The plain data of a prompt, with ``current`` taken from ``by_size`` where the file leaves it out.

    Args:
        model: the name of the family's default model, as far as the file says one.
        sizes: of the models that are known, by name.
    """
    bases = prompt.get("by_size")
    if "current" in prompt or not isinstance(bases, Mapping):
        return dict(prompt)
    base = bases.get(sizes.get(model, DEFAULT_SIZE) if isinstance(model, str) else DEFAULT_SIZE)
    return {**prompt, "current": base} if isinstance(base, str) else dict(prompt)
