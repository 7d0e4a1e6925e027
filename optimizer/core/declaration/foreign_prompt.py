"""A prompt of another system, read for a new family: what can be carried over, and the names of what cannot.

The systems are in ``adapters/prompt_sources/``, one a module, declared by ``@prompt_source``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.registry import Registry, declares
from optimizer.core.family.variant import VARIABLE

SETTINGS = ("temperature", "max_tokens", "stop")  # that a family's file holds
_LOGIC = re.compile(r"\{%.*?%\}|\{#.*?#\}|\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignPrompt:
    """``messages``: with {{name}} for each variable. ``model``: those of SETTINGS that it names.

    ``rows``: examples that came along, by column. ``output``: the column with their answer. ``not_carried``: by name.
    """

    messages: Sequence[Mapping[str, str]]
    model: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    output: str | None = None
    description: str = ""
    not_carried: Sequence[str] = ()

    @property
    def text(self) -> str:
        """All that it says, for who looks for variables and labels in it."""
        return "\n\n".join(message["content"] for message in self.messages)


Read = Callable[[str], ForeignPrompt]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSourceRecord:
    """``read``: takes what follows ``NAME:`` in ``--from``. Raises InvalidInput for what cannot be read."""

    read: Read = field(kw_only=False)
    name: str = ""


prompt_source = declares(PromptSourceRecord)


PROMPT_SOURCES: Registry[PromptSourceRecord] = Registry("detent.prompt_sources", "prompt source", PromptSourceRecord)


def plain_template(content: Any, where: str) -> str:
    """The template with {{name}} for each variable, of a text or of parts that are texts.

    Raises InvalidInput for a program (Jinja, Nunjucks, MiniJinja), which would be sent to the model as text, and for
    parts that are no texts.
    """
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    if not all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
        raise InvalidInput(f"The template {where} has a part that is no text: {content!r:.80}. Take it out.")
    text = "\n".join(part["text"] for part in parts)
    logic = [tag for tag in _LOGIC.findall(text) if not VARIABLE.fullmatch(tag)]
    if logic:
        raise InvalidInput(
            f"The template {where} says {logic[0]!r:.80}, and a family's prompt has no logic, only {{{{name}}}}. Write"
            " it without, or make one family for each way through it."
        )
    return VARIABLE.sub(lambda match: f"{{{{{match[1]}}}}}", text)


def settings_of(values: Mapping[str, Any], not_carried: list[str]) -> dict[str, Any]:
    """The settings of a model that a family's file can hold. The names of the others are added to ``not_carried``."""
    not_carried += [f"{name} ({value!r:.60})" for name, value in values.items() if name not in SETTINGS and value]
    return {name: values[name] for name in SETTINGS if values.get(name) is not None}
