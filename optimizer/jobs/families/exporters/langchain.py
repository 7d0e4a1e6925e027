"""Format ``langchain``: a chat prompt."""

from __future__ import annotations

from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import VARIABLE, VariantRecord
from optimizer.jobs.families.export_variant import exporter, json_text, settings_beside


@exporter(needs_prompt=True)
def langchain(family: Family, record: VariantRecord) -> str:
    """(role, template) pairs for ChatPromptTemplate.from_messages, f-string syntax; history becomes a placeholder."""
    roles = {"system": "system", "user": "human", "assistant": "ai"}
    pairs: list[tuple[str, str]] = []
    for message in render_open(record.variant):
        if message["role"] == "history":
            pairs.append(("placeholder", "{history}"))
        else:
            role = str(message["role"])
            # {{name}} as {name}; every other brace doubled, so that it stays a brace.
            text = message["content"]
            parts, end = [], 0
            for match in VARIABLE.finditer(text):
                parts += [_doubled(text[end : match.start()]), "{" + match.group(1) + "}"]
                end = match.end()
            pairs.append((roles.get(role, role), "".join([*parts, _doubled(text[end:])])))
    return json_text(
        {"messages": pairs, "input_variables": list(record.variant.variables), **settings_beside(record.variant)}
    )


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
