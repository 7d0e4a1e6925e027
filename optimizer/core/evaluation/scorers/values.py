"""What of a value is measured: a part of an object, or several good answers.

An expected value without the form is the example's fault and raises ValueError;
a given one is the model's, and no match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Wrong = object()  # stands for what a model gave in no usable form: it counts as found, and is never right


def answers_of(wanted: Any) -> list[Any]:
    """Several good answers, or the one."""
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def wanted_items(wanted: Any, key: str) -> list[Any]:
    """The expected list: the value itself, or what an object has under ``key``;
    raises ValueError where there is none."""
    items = wanted.get(key) if isinstance(wanted, Mapping) else wanted
    if not isinstance(items, list | tuple):
        raise ValueError(f"the expected output is no list and has none under {key!r}")
    return list(items)


def found_items(found: Any, key: str) -> list[Any]:
    """As ``wanted_items``, of what a model gave; ``[Wrong]`` where there is no list."""
    items = found.get(key) if isinstance(found, Mapping) else found
    return list(items) if isinstance(items, list | tuple) else [Wrong]


def text_of(value: Any) -> str:
    """A text as it is; of a list its items, one a line."""
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return str(value)


def source_text(input: Mapping[str, Any], name: str) -> str:
    """The text of an input; raises ValueError where the example has none of that name."""
    if name not in input:
        raise ValueError(f"the example has no input {name!r} to measure the answer against")
    return text_of(input[name])
