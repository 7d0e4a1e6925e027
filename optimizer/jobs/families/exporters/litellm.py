"""Format ``litellm``: what of a Variant's policy LiteLLM's configuration can hold."""

from __future__ import annotations

import json
from collections.abc import Collection
from io import StringIO

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.core.policy.tiers import REFUSE
from optimizer.jobs.families.export_variant import exporter

_TIERS, _FALL_BACK = "tiers", "fall_back"


@exporter(needs_students=True)
def litellm(family: Family, record: VariantRecord, students: Collection[str]) -> str:
    """``router_settings`` beside a ``model_list`` with the names of config/models.yaml.

    The first tier has the family's name, and the next ones answer where it fails. LiteLLM knows no confidence of an
    answer, so thresholds and all else that has no place there are comments, by name.

    Args:
        students: tiers that LiteLLM cannot ask, taught or not.
    Raises:
        InvalidInput: a student answers alone, so that no model may.
    """
    from ruamel.yaml import YAML

    variant = record.variant
    if variant.policy.get(REFUSE.name):
        raise InvalidInput(
            f"Format litellm names models, and in {variant.id} of family {family.name} a student answers alone: a model"
            " would answer everything. Use Detent's gateway, or export a variant without refuse."
        )
    tiers = [str(name) for name in variant.policy.get(_TIERS) or [variant.model["name"]] if name not in students]
    alias, *rest = tiers
    settings = {
        "model_group_alias": {family.name: alias},
        **(
            {"fallbacks": [{family.name: rest}]} if rest else {}
        ),  # under the alias, where LiteLLM looks, not under its model
    }
    out = StringIO()
    YAML().dump({"router_settings": settings}, out)
    notes = [
        f"# {variant.id} of {family.name}: merge into LiteLLM's configuration, whose model_list has {', '.join(tiers)}"
    ]
    own = {name: value for name, value in variant.model.items() if name != "name"}
    if own:
        notes.append(f"# into litellm_params of each: {json.dumps(own, ensure_ascii=False)}")
    left = {name: value for name, value in variant.policy.items() if name not in (_TIERS, _FALL_BACK)}
    if left:
        values = json.dumps(left, ensure_ascii=False)
        notes.append(f"# without a place there; Detent's gateway decides by them: {values}")
    return "\n".join([*notes, out.getvalue()])
