"""A Variant as readable lines, and what differs between two of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from optimizer.core.base.canonical import canonical_json
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.family.variant import Variant


def named(variant: str, versions: Mapping[str, str]) -> str:
    """An id with what the family's file calls its content: ``v_1f2e3d4c5b6a (version v2)``; the id alone where it is of
    no file.

    Args:
        versions: variant > the version's name.
    """
    return f"{variant} (version {versions[variant]})" if variant in versions else variant


def variant_text(variant: Variant) -> str:
    """Settings, then messages with their examples in place. Two of these can be compared by line."""
    lines = [f"{key}: {value}" for key, value in sorted(variant.model.items())]
    lines += [f"policy.{key}: {value}" for key, value in sorted(shown_policy(variant.policy).items())]
    for name, value in (("tools", variant.tools), ("response_format", variant.response_format)):
        lines += [f"{name}: {canonical_json(value).decode()}"] if value is not None else []
    for message in variant.messages:
        if message["role"] == "examples":
            lines += _examples(variant)
            continue
        lines += ["", f"[{message['role']}]", *str(message.get("content") or "").splitlines()]
    if all(message["role"] != "examples" for message in variant.messages):
        lines += _examples(variant)
    return "\n".join(lines).strip() + "\n"


def variant_diff(champion: Variant, other: Variant) -> str:
    """Unified diff of the readable texts; empty when they are equal."""
    before, after = variant_text(champion).splitlines(), variant_text(other).splitlines()
    return "\n".join(difflib.unified_diff(before, after, f"champion {champion.id}", other.id, lineterm="", n=2))


def _examples(variant: Variant) -> Iterator[str]:
    for n, example in enumerate(variant.examples, start=1):
        yield from (
            "",
            f"[example {n}: {example.id}]",
            *(f"{k}: {v}" for k, v in example.input.items()),
            f"=> {example.output}",
        )
