"""Format ``mlflow``: a prompt for MLflow's registry."""

from __future__ import annotations

import json

from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import VariantRecord
from optimizer.core.policy.nearest import nearest_of
from optimizer.jobs.families.export_variant import exporter, json_text


@exporter(needs_prompt=True)
def mlflow(family: Family, record: VariantRecord) -> str:
    """Arguments of mlflow.genai.register_prompt with a chat template; {{variables}} are MLflow's own syntax."""
    return json_text(
        {
            "name": f"detent-{family.name}",
            "template": [m for m in render_open(record.variant) if m["role"] != "history"],
            "commit_message": f"{record.variant.id} ({record.source})",
            "tags": (
                {"detent.variant": record.variant.id}
                | ({"detent.policy": json.dumps(policy)} if (policy := dict(record.variant.policy)) else {})
                | ({"detent.render": "required"} if nearest_of(policy) is not None else {})
            ),
            "model_config": {("model_name" if k == "name" else k): v for k, v in record.variant.model.items()},
        }
    )
