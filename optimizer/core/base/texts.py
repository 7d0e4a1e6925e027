"""What a key of role read does not see: texts that a person or a model wrote.

A member of an answer that holds one is annotated: ``reason: Text[str]``. Where its answer is written for such a key it
is null, and whoever reads it back takes the null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import core_schema

T = TypeVar("T")
FIGURES_ONLY: Mapping[str, bool] = {"texts": False}  # the context in which an answer is written without texts

TEXTS = frozenset(
    {
        # what users sent, what models answered, what people made of it
        "input",
        "output",
        "expected",
        "label",
        "tags",
        "error",
        "conversation",
        "parts",
        "later_parts",
        "payload",
        "answer",
        # what prompts are made of, and what searches tried and learned
        "messages",
        "examples",
        "tools",
        "response_format",
        "policy",
        "stop",
        "definition",
        "space",
        "params",
        "findings",
        # sentences that people wrote, or that may quote them
        "note",
        "reason",
        "reasons",
        "why",
        "detail",
        "description",
        "problem",
        "last_error",
    }
)


def shown(text: str | None) -> str:
    """A declared text as a terminal prints it; for one that the key may not read, a note that says so."""
    return "not shown to this key" if text is None else text


def figures_of(value: Any) -> Any:
    """JSON without declared members, and with every member of TEXTS set to null, at any depth."""
    if isinstance(value, list | tuple):
        return [figures_of(item) for item in value]
    if isinstance(value, Mapping):
        return {name: None if name in TEXTS else figures_of(item) for name, item in value.items()}
    return value


class Redaction:
    """How a member is written for a key that may not read texts; ``instead``: what of it stays."""

    def __init__(self, instead: Callable[[Any], Any]) -> None:
        self.instead = instead

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        from pydantic_core import core_schema  # what only reads values starts without it

        inner = handler(source)
        return core_schema.nullable_schema(
            inner,
            serialization=core_schema.wrap_serializer_function_ser_schema(self._written, info_arg=True, schema=inner),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "x-detent-text": True}

    def _written(self, value: Any, write: Callable[[Any], Any], info: Any) -> Any:
        return write(self.instead(value) if info.context == FIGURES_ONLY and value is not None else value)


Text = Annotated[T, Redaction(lambda text: None)]
Record = Annotated[T, Redaction(figures_of)]
"""A record of Detent's own whose members are not declared: figures stay, members that TEXTS names are hidden."""
