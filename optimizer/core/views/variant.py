"""A Variant as people and programs see it: its content with what is known about its origin."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from optimizer.core.base.answers import Json, members_of
from optimizer.core.base.texts import Record, Text
from optimizer.core.family.variant import FewShot, Message, Source, VariantRecord

Use = Literal["champion", "candidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantView:
    """``variant``: its id; ``variables``: those that its messages leave open."""

    variant: str
    family: str
    source: Source
    created_at: datetime
    created_by: str
    note: Text[str]
    file_version: str | None
    parent: str | None
    study: str | None
    variables: Sequence[str]
    messages: Text[Sequence[Message]]
    examples: Text[Sequence[FewShot]]
    model: Record[Mapping[str, Json]]
    tools: Text[Sequence[Mapping[str, Json]] | None]
    response_format: Text[Mapping[str, Json] | None]
    policy: Text[Mapping[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVariant(VariantView):
    """``use``: None where it neither serves nor is rolled out."""

    use: Use | None


def variant_view(record: VariantRecord) -> VariantView:
    variant = record.variant
    return VariantView(
        **{
            **members_of(record),
            "variant": variant.id,
            "variables": variant.variables,
            "messages": variant.messages,
            "examples": variant.examples,
            "model": variant.model,
            "tools": variant.tools,
            "response_format": variant.response_format,
            "policy": variant.policy,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartChange:
    """A part of the content, such as ``messages``, as the other variant has it, and as this one does."""

    before: Json
    after: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantDiff:
    """What of ``variant`` differs from ``against``: each changed part, and a unified diff of the whole content."""

    family: str
    variant: str
    against: str
    same: bool
    changes: Mapping[str, PartChange]
    diff: str


def changes_between(before: VariantRecord, after: VariantRecord) -> VariantDiff:
    old, new = before.variant.content(), after.variant.content()
    lines = difflib.unified_diff(_lines(old), _lines(new), before.variant.id, after.variant.id, lineterm="")
    return VariantDiff(
        family=after.family,
        variant=after.variant.id,
        against=before.variant.id,
        same=before.variant.id == after.variant.id,
        changes={part: PartChange(before=old[part], after=new[part]) for part in new if old[part] != new[part]},
        diff="\n".join(lines),
    )


def _lines(content: Mapping[str, Json]) -> list[str]:
    """Content as text to compare: long texts on lines of their own, so that a changed sentence shows as one."""
    lines: list[str] = []
    for part, value in content.items():
        lines.append(f"{part}:")
        entries = value if isinstance(value, list) else [value]
        for entry in entries:
            text = json.dumps(entry, ensure_ascii=False, indent=2, sort_keys=True)
            lines += [f"  {line}" for line in text.replace("\\n", "\n").splitlines()]
    return lines
