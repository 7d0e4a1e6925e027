"""A variant as text: for reading and for comparing."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from optimizer.core.policy.shown import shown_policy

if TYPE_CHECKING:
    from optimizer.core.variant import Variant
    from optimizer.ports import VariantRecord


def reading(record: VariantRecord) -> str:
    """All of a variant, in the order the model sees it."""
    origin = f"{record.source}, by {record.created_by}" + (f", from study {record.study}" if record.study else "")
    return "\n".join([f"{record.variant.id}  ({origin}){'  ' + record.note if record.note else ''}", *_lines(record.variant)])


def differences(old: VariantRecord, new: VariantRecord) -> list[str]:
    """A unified diff of two readings without their head lines; empty for the same setting."""
    return list(difflib.unified_diff(_lines(old.variant), _lines(new.variant), old.variant.id, new.variant.id, lineterm="", n=2))


def _lines(variant: Variant) -> list[str]:
    lines: list[str] = []
    for message in variant.messages:
        lines += [f"[{message['role']}]", *str(message.get("content") or "").splitlines()]
        if message["role"] == "examples":
            for example in variant.examples:
                inputs = json.dumps(dict(example.input), ensure_ascii=False)
                lines.append(f"  {example.id}: {inputs} -> {example.output}")
    if variant.examples and all(m["role"] != "examples" for m in variant.messages):
        lines.append("[examples, before the last user message]")
        lines += [f"  {e.id}: {json.dumps(dict(e.input), ensure_ascii=False)} -> {e.output}" for e in variant.examples]
    lines += [f"model.{name}: {json.dumps(value)}" for name, value in sorted(variant.model.items())]
    lines += [f"policy.{name}: {json.dumps(value)}" for name, value in sorted(shown_policy(variant.policy).items())]
    for name in ("tools", "response_format"):
        if getattr(variant, name) is not None:
            lines.append(f"{name}: {json.dumps(getattr(variant, name), default=dict)}")
    return lines
