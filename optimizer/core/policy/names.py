"""Lists of model names inside a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.errors import Fault, pointer_of


def model_names(knob: str, values: Mapping[str, Any], faults: list[Fault]) -> tuple[str, ...]:
    """A list of model names; one that is no text, or named twice, is a fault at its place."""
    names: list[str] = []
    for i, name in enumerate(values.get(knob, ())):
        if not isinstance(name, str) or not name.strip():
            faults.append(Fault(pointer=pointer_of([knob, i]), detail=f"a model is named by a text of config/models.yaml, not {name!r}"))
        elif name in names:
            faults.append(Fault(pointer=pointer_of([knob, i]), detail=f"{name!r} is named twice in {knob}; each model is asked once"))
        else:
            names.append(name)
    return tuple(names)
