"""Exports a Variant for use elsewhere.

The formats are in ``exporters/`` and in packages, which add theirs by an entry point of group ``detent.exporters``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.registry import Registration, Registry, declares
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.policy.nearest import nearest_of

Write = Callable[..., str]  # of (family, record), and of the students where it needs them


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterRecord:
    """A format of ``detent variant export``.

    Args:
        write: (family, the Variant as it is stored) -> the text of the export.
        needs_students: ``write`` gets as its third argument which tiers of the Variant are students.
        needs_prompt: it holds a prompt, so that a Variant that is only a policy has no such export.
        name, package: a package's are those of its entry point and distribution.
    """

    write: Write = field(kw_only=False)
    needs_prompt: bool = False
    needs_students: bool = False
    name: str = ""
    package: str = ""


exporter = declares(ExporterRecord)


def export_variant(
    family: Family, record: VariantRecord, format: str = "messages", *, students: Collection[str] = ()
) -> str:
    """The text of the export, made from the same rendering that scoring and serving use.

    Args:
        students: the Variant's tiers that are students, taught or not.
    Raises:
        InvalidInput: the format is unknown, needs a prompt that the Variant has not, or is a package's that cannot be
            loaded or fails.
    """
    if format not in EXPORTERS:
        refused = "".join(f" {sentence}" for sentence in EXPORTERS.refused)
        raise InvalidInput(f"There is no export format {format!r}. Known: {', '.join(EXPORTERS.names)}.{refused}")
    chosen = EXPORTERS[format]
    if chosen.needs_prompt and not record.variant.messages:
        raise InvalidInput(
            f"Format {format} holds a prompt, and {record.variant.id} of family {family.name} has none, only a policy."
            " Use --format yaml or messages."
        )
    return chosen.write(family, record, *([students] if chosen.needs_students else ()))


def settings_beside(variant: Variant) -> dict[str, Any]:
    """What an export has beside the messages; ``render`` as ``prompt_members`` has it."""
    content = variant.content()
    return {
        **{name: content[name] for name in ("model", "tools", "response_format", "policy")},
        **({"render": "required"} if nearest_of(variant.policy) is not None else {}),
    }


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _whole(added: Registration, record: ExporterRecord) -> ExporterRecord:
    """An error of a package's code is reported with the package's name."""
    if not added.package:
        return replace(record, name=added.name)
    if not callable(record.write):
        raise TypeError(
            f"it is a {type(record.write).__name__}, not a function (family, record) -> str, nor an"
            " ExporterRecord with one"
        )

    def write(family: Family, variant: VariantRecord) -> str:
        try:
            return record.write(family, variant)
        except Exception as error:
            raise InvalidInput(
                f"The exporter {added.name} of {added.package} failed on {variant.variant.id} ({type(error).__name__}:"
                f" {error}). Repair or update that package, or name another format."
            ) from error

    return replace(record, write=write, name=added.name, package=added.package)


EXPORTERS: Registry[ExporterRecord] = Registry("detent.exporters", "exporter", ExporterRecord, _whole)
