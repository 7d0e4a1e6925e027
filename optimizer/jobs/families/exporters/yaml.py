"""Format ``yaml``: a version for a family's file."""

from __future__ import annotations

from io import StringIO
from typing import Any

from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import Message, VariantRecord
from optimizer.core.policy.policy import EXAMPLES
from optimizer.jobs.families.export_variant import exporter

_FILE_NAMES = {"name": "default", "temperature": "temperature", "max_tokens": "max_tokens", "stop": "stop"}


@exporter()
def yaml(family: Family, record: VariantRecord) -> str:
    """A block for prompt.versions of families/<name>/family.yaml. Examples are written as the messages
    that are served.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString

    def readable(message: Message) -> dict[str, Any]:
        content = message.get("content")
        if isinstance(content, str) and "\n" in content:
            return {**message, "content": LiteralScalarString(content)}
        return dict(message)

    variant = record.variant
    version: dict[str, Any] = {
        "created_at": record.created_at.date().isoformat(),
        "description": record.note or f"from {record.source}" + (f" {record.study}" if record.study else ""),
        **({"content": [readable(m) for m in render_open(variant)]} if variant.messages else {}),
    }
    # A file's prompt has no list of examples to shorten for a model.
    is_baked_in = bool(variant.examples) and EXAMPLES.name in variant.policy
    of_examples = [name for name in variant.policy if is_baked_in and name.partition(".")[0] == EXAMPLES.name]
    policy = {name: value for name, value in variant.policy.items() if name not in of_examples}
    for name, value in (("tools", variant.tools), ("response_format", variant.response_format), ("policy", policy)):
        if value:
            version[name] = value
    model = {_FILE_NAMES[name]: value for name, value in variant.model.items() if name in _FILE_NAMES}
    beyond = {name: value for name, value in variant.model.items() if name not in _FILE_NAMES}
    beyond |= {f"policy.{name}": variant.policy[name] for name in of_examples}
    document = {
        "prompt": {"current": variant.id, "versions": {variant.id: version}},
        **({"model": model} if model else {}),
    }
    writer = YAML()
    writer.width = 140
    out = StringIO()
    writer.dump(document, out)
    notes = [f"# {variant.id}: merge into families/{family.name}/family.yaml"]
    if beyond:
        notes.append(
            f"# settings that a family file cannot hold, to be served by `detent rollout start {family.name}"
            f" {variant.id}`: {beyond}"
        )
    return "\n".join([*notes, out.getvalue()])
