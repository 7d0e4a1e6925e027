"""Format ``messages``, which is what ``detent variant export`` gives where none is named."""

from __future__ import annotations

from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import VariantRecord
from optimizer.jobs.families.export_variant import exporter, json_text, settings_beside


@exporter()
def messages(family: Family, record: VariantRecord) -> str:
    """What GET …/prompt gives: examples in place, variables and history open."""
    return json_text(
        {"variant": record.variant.id, "messages": render_open(record.variant), **settings_beside(record.variant)}
    )
