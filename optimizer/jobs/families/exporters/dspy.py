"""Format ``dspy``: a program's state."""

from __future__ import annotations

from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.jobs.families.export_variant import exporter, json_text, settings_beside


@exporter(needs_prompt=True)
def dspy(family: Family, record: VariantRecord) -> str:
    """The state of a one-step dspy.Predict: instructions and demos, as DSPy saves programs in JSON."""
    variant = record.variant
    instructions = "\n\n".join(m["content"] for m in variant.messages if m["role"] == "system")
    fields = [
        {"prefix": f"{name.replace('_', ' ').title()}:", "description": f"${{{name}}}"}
        for name in (*family.inputs, family.output.field)
    ]
    demos = [{**dict(e.input), family.output.field: e.output} for e in variant.examples]
    state = {
        "traces": [],
        "train": [],
        "demos": demos,
        "signature": {"instructions": instructions, "fields": fields},
        "lm": None,
    }
    return json_text(
        {
            **state,
            "metadata": {"detent_variant": variant.id, **settings_beside(variant)},
        }
    )
