"""A Variant as people and programs see it: its content with its origin, as readable lines, and beside another one."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from optimizer.core.base.answers import Json, Record, Text, members_of
from optimizer.core.base.canonical import canonical_json
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.family.variant import FewShot, Message, Source, Variant, VariantRecord

Use = Literal["champion", "candidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderings:
    """Fetches of a variant that showed the examples nearest to the request, and those that showed its fixed ones."""

    n_nearest: int
    n_fixed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantView:
    """``variant``: its id; ``variables``: those that its messages leave open; ``renderings``: of one that shows nearest
    examples, where it is read alone.
    """

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
    renderings: Renderings | None = None


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
    """What of ``variant`` differs from ``against``: each changed part, and a unified diff of the whole as text."""

    family: str
    variant: str
    against: str
    same: bool
    changes: Mapping[str, PartChange]
    diff: str


def changes_between(before: VariantRecord, after: VariantRecord) -> VariantDiff:
    old, new = before.variant.content(), after.variant.content()
    changes = {part: PartChange(before=old[part], after=new[part]) for part in new if old[part] != new[part]}
    return VariantDiff(
        family=after.family,
        variant=after.variant.id,
        against=before.variant.id,
        same=not changes,
        changes=changes,
        # The text leaves out blank ends, and what a message holds beside role and content.
        diff=variant_diff(before.variant, after.variant) or ("" if not changes else f"only in {', '.join(changes)}"),
    )


def variant_name(variant: str, versions: Mapping[str, str]) -> str:
    """An id with what the family's file calls its content: ``v_1f2e3d4c5b6a (version v2)``; the id alone where it is of
    no file.

    Args:
        versions: variant > the version's name.
    """
    return f"{variant} (version {versions[variant]})" if variant in versions else variant


def variant_text(variant: Variant | VariantView) -> str:
    """Settings, then messages with their examples in place. Two of these can be compared by line. Of a view whose texts
    are hidden, the settings of the model alone.
    """
    messages = variant.messages or ()
    lines = [f"{key}: {value}" for key, value in sorted(variant.model.items())]
    lines += [
        f"policy.{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=dict)}"
        for key, value in sorted(shown_policy(variant.policy or {}).items())
    ]
    for name, value in (("tools", variant.tools), ("response_format", variant.response_format)):
        lines += [f"{name}: {canonical_json(value).decode()}"] if value is not None else []
    for message in messages:
        if message["role"] == "examples":
            lines += _examples(variant)
            continue
        lines += ["", f"[{message['role']}]", *str(message.get("content") or "").splitlines()]
    if all(message["role"] != "examples" for message in messages):
        lines += _examples(variant)
    return "\n".join(lines).strip() + "\n"


def variant_diff(before: Variant, after: Variant) -> str:
    """Unified diff of the readable texts; empty when they are equal."""
    old, new = variant_text(before).splitlines(), variant_text(after).splitlines()
    return "\n".join(difflib.unified_diff(old, new, before.id, after.id, lineterm="", n=2))


def _examples(variant: Variant | VariantView) -> Iterator[str]:
    for n, example in enumerate(variant.examples or (), start=1):
        yield from (
            "",
            f"[example {n}: {example.id}]",
            *(f"{k}: {v}" for k, v in example.input.items()),
            f"=> {example.output}",
        )
