"""Exports a Variant for use elsewhere: as messages, as a block of family.yaml, or for DSPy, MLflow and LangChain.

Packages add formats by an entry point of group ``detent.exporters``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.registry import Added, Registry
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import VARIABLE, Message, Variant, VariantRecord
from optimizer.core.policy.shown_examples import EXAMPLES

_FILE_NAMES = {"name": "default", "temperature": "temperature", "max_tokens": "max_tokens", "stop": "stop"}
Write = Callable[[Family, VariantRecord], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterRecord:
    """A format of ``detent variant export``.

    Args:
        write: (family, the Variant as it is stored) -> the text of the export.
        needs_prompt: it holds a prompt, so that a Variant that is only a policy has no such export.
        name, package: a package's are those of its entry point and distribution.
    """

    write: Write
    needs_prompt: bool = False
    name: str = ""
    package: str = ""


def export_variant(family: Family, record: VariantRecord, format: str = "messages") -> str:
    """The text of the export, made from the same rendering that scoring and serving use.

    Raises:
        InvalidInput: the format is unknown, needs a prompt that the Variant has not, or is a package's that cannot be
            loaded or fails.
    """
    if format not in EXPORTERS:
        refused = "".join(f" {sentence}" for sentence in EXPORTERS.refused)
        raise InvalidInput(f"There is no export format {format!r}. Known: {', '.join(EXPORTERS.names)}.{refused}")
    exporter = EXPORTERS[format]
    if exporter.needs_prompt and not record.variant.messages:
        raise InvalidInput(
            f"Format {format} holds a prompt, and {record.variant.id} of family {family.name} has none, only a policy."
            " Use --format yaml or messages."
        )
    return exporter.write(family, record)


def _messages(family: Family, record: VariantRecord) -> str:
    """What GET …/prompt gives: examples in place, variables and history open."""
    return _json({"variant": record.variant.id, "messages": render_open(record.variant), **_beside(record.variant)})


def _yaml(family: Family, record: VariantRecord) -> str:
    """A block for prompt.versions of families/<name>/family.yaml;
    examples stand in it as the messages they are served as.
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
    is_baked_in = (
        bool(variant.examples) and EXAMPLES.name in variant.policy
    )  # a file's prompt has no list of examples to shorten for a model
    policy = {name: value for name, value in variant.policy.items() if not (is_baked_in and name == EXAMPLES.name)}
    for name, value in (("tools", variant.tools), ("response_format", variant.response_format), ("policy", policy)):
        if value:
            version[name] = value
    model = {_FILE_NAMES[name]: value for name, value in variant.model.items() if name in _FILE_NAMES}
    beyond = {name: value for name, value in variant.model.items() if name not in _FILE_NAMES}
    if is_baked_in:
        beyond[f"policy.{EXAMPLES.name}"] = variant.policy[EXAMPLES.name]
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


def _dspy(family: Family, record: VariantRecord) -> str:
    """The state of a one-step dspy.Predict: instructions and demos, as DSPy saves programs in JSON."""
    variant = record.variant
    instructions = "\n\n".join(m["content"] for m in variant.messages if m["role"] == "system")
    fields = [
        {"prefix": f"{_title(name)}:", "description": f"${{{name}}}"} for name in (*family.inputs, family.output.field)
    ]
    demos = [{**dict(e.input), family.output.field: e.output} for e in variant.examples]
    state = {
        "traces": [],
        "train": [],
        "demos": demos,
        "signature": {"instructions": instructions, "fields": fields},
        "lm": None,
    }
    return _json(
        {
            **state,
            "metadata": {"detent_variant": variant.id, "model": dict(variant.model), "policy": dict(variant.policy)},
        }
    )


def _mlflow(family: Family, record: VariantRecord) -> str:
    """Arguments of mlflow.genai.register_prompt with a chat template; {{variables}} are MLflow's own syntax."""
    return _json(
        {
            "name": f"detent-{family.name}",
            "template": [m for m in render_open(record.variant) if m["role"] != "history"],
            "commit_message": f"{record.variant.id} ({record.source})",
            "tags": (
                {"detent.variant": record.variant.id}
                | ({"detent.policy": json.dumps(policy)} if (policy := dict(record.variant.policy)) else {})
            ),
            "model_config": {("model_name" if k == "name" else k): v for k, v in record.variant.model.items()},
        }
    )


def _langchain(family: Family, record: VariantRecord) -> str:
    """(role, template) pairs for ChatPromptTemplate.from_messages, f-string syntax; history becomes a placeholder."""
    roles = {"system": "system", "user": "human", "assistant": "ai"}
    pairs: list[tuple[str, str]] = []
    for message in render_open(record.variant):
        if message["role"] == "history":
            pairs.append(("placeholder", "{history}"))
        else:
            role = str(message["role"])
            pairs.append((roles.get(role, role), _f_string(message["content"])))
    return _json({"messages": pairs, "input_variables": list(record.variant.variables), **_beside(record.variant)})


def _f_string(text: str) -> str:
    """{{name}} as {name}; every other brace doubled, so that it stays a brace."""
    parts, end = [], 0
    for match in VARIABLE.finditer(text):
        parts += [_doubled(text[end : match.start()]), "{" + match.group(1) + "}"]
        end = match.end()
    return "".join([*parts, _doubled(text[end:])])


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _beside(variant: Variant) -> dict[str, Any]:
    content = variant.content()
    return {name: content[name] for name in ("model", "tools", "response_format", "policy")}


def _title(name: str) -> str:
    return name.replace("_", " ").title()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


BUILT_IN = (
    ExporterRecord(name="messages", write=_messages),
    ExporterRecord(name="yaml", write=_yaml),
    ExporterRecord(name="dspy", write=_dspy, needs_prompt=True),
    ExporterRecord(name="mlflow", write=_mlflow, needs_prompt=True),
    ExporterRecord(name="langchain", write=_langchain, needs_prompt=True),
)


def _of_package(added: Added, found: Any) -> ExporterRecord:
    """What an entry point names: a function that writes, or a record that has one."""
    record = found if isinstance(found, ExporterRecord) else ExporterRecord(write=found)
    if not callable(record.write):
        raise TypeError(
            f"it is a {type(found).__name__}, not a function (family, record) -> str, nor an ExporterRecord with one"
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


EXPORTERS: Registry[ExporterRecord] = Registry(
    "detent.exporters", "exporter", {one.name: one for one in BUILT_IN}, _of_package
)
