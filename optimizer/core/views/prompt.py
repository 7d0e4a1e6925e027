"""A variant's prompt as who fills it in needs it: what the routes of serving and a snapshot's file say alike."""

from __future__ import annotations

from typing import Any

from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import Variant, only_settings
from optimizer.core.policy.nearest import nearest_of


def prompt_members(variant: Variant, definition: Family | None) -> dict[str, Any]:
    """``definition``: None where the family's file was never readable, so that nothing says what an input may be.

    ``render`` says that each request has examples of its own, which only who fills the prompt in beside the store can
    look up; these messages have the fixed ones.
    """
    declared = definition.inputs if definition is not None else {}
    return {
        "messages": render_open(variant),
        "example_ids": [example.id for example in variant.examples],
        "variables": list(variant.variables),
        "inputs": {
            name: {
                "type": input.type,
                "max_chars": input.max_chars,
                **({"too_long": input.too_long} if input.max_chars else {}),
            }
            for name, input in declared.items()
        },
        "model": only_settings(variant.model),
        "tools": variant.tools,
        "response_format": variant.response_format,
        "policy": dict(variant.policy),
        **({"render": "required"} if nearest_of(variant.policy) is not None else {}),
    }
