"""From a model's text to a value, and from an expected value to the text a model should have written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.strict_json import read_json, read_json_inside
from optimizer.core.family.settings import Declared, Word

PARSER_VERSION = 2  # raise it with every change that reads some text differently: scores before and after are not comparable

_FENCE = re.compile(r"^```[a-zA-Z0-9_-]*[ \t]*\n(.*?)\n?```", re.DOTALL | re.MULTILINE)
_BULLET = re.compile(r"^(?:[-*•·]|\d{1,3}[.)])\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """``value`` where the text could be read, else ``error`` with the reason."""

    value: Any = None
    error: str | None = None


def parse_output(output: Output, text: str) -> Parsed:
    """Reads the model's text as the Family declares: text (stripped), label (one of the labels), json (validated) or list (of texts).

    Never raises: a text that cannot be read is the model's failure and is scored as such.
    """
    if output.parser == "label":
        return _label(output.labels or (), text)
    if output.parser == "json":
        return _json(output.json_schema, text)
    if output.parser == "list":
        return Parsed(value=_list(text))
    stripped = text.strip()
    return Parsed(value=stripped) if stripped else Parsed(error="empty output")


def expected_value(output: Output, expected: Mapping[str, Any]) -> Any:
    """The part of an Example's ``expected`` that the output is compared with; raises InvalidInput when it is not there."""
    if output.field not in expected:
        raise InvalidInput(
            f"The expected output has no {output.field!r}, only {', '.join(expected) or 'nothing'}. "
            f"Name the field as the family's output.field does, or change output.field."
        )
    return expected[output.field]


def expected_text(output: Output, expected: Mapping[str, Any]) -> str:
    """An expected output as an assistant message: reading it back with ``parse_output`` gives the expected value."""
    value = expected_value(output, expected)
    if output.parser == "json":
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if output.parser == "list":
        return _list_text(value if isinstance(value, Sequence) and not isinstance(value, str) else [value])
    if isinstance(value, Sequence) and not isinstance(value, str):  # several good answers: the first is shown
        value = value[0] if value else ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _label(labels: Sequence[str], text: str) -> Parsed:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    for form in (_folded, _bare):
        said = form(first)
        same = [label for label in labels if said and form(label) == said]
        if len(same) == 1:
            return Parsed(value=same[0])
    inside = _labels_inside(labels, _folded(first))
    if len(inside) == 1:
        return Parsed(value=inside[0])
    if inside:
        return Parsed(error=f"no label: {', '.join(inside)} all stand in the first line")
    return Parsed(error="no label" + (": empty output" if not first else ""))


def _labels_inside(labels: Sequence[str], line: str) -> list[str]:
    """Labels that stand in the line as whole words; one that stands only inside a longer one does not count."""
    found = []
    for label in sorted(labels, key=len, reverse=True):
        pattern = r"(?<!\w)" + re.escape(_folded(label)) + r"(?!\w)"
        line, n = re.subn(pattern, " \x00 ", line)
        if n:
            found.append(label)
    return found


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _bare(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


def _json(schema: Mapping[str, Any] | None, text: str) -> Parsed:
    try:
        value = _first_json(text)
    except ValueError as error:
        return Parsed(error=f"no JSON: {error}")
    if schema is not None:
        from optimizer.core.base.json_schema import schema_fault  # here, because most families need none of it

        fault = schema_fault(schema, value)
        if fault is not None:
            return Parsed(error=fault)
    return Parsed(value=value)


def _first_json(text: str) -> Any:
    """The text as JSON; else what a code fence holds; else the first object or array inside."""
    stripped = text.strip()
    if not stripped:
        raise ValueError("empty output")
    fence = _FENCE.search(stripped)
    for candidate in [stripped, *([fence.group(1)] if fence else [])]:
        try:
            return read_json(candidate)
        except ValueError:
            continue
    start = re.search(r"[{\[]", stripped)
    if start is None:
        raise ValueError("there is no object or array in it")
    return read_json_inside(stripped, start.start())


def _list(text: str) -> list[Any]:
    try:
        value = _first_json(text) if text.lstrip().startswith(("[", "```")) else None
    except ValueError:
        value = None
    if isinstance(value, list):
        return value
    lines = (_BULLET.sub("", line.strip()).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _list_text(items: Sequence[Any]) -> str:
    """Lines where they read back the same, else a JSON array."""
    if items and all(isinstance(i, str) for i in items):
        lines = "\n".join(items)
        if _list(lines) == list(items):
            return lines
    return json.dumps(list(items), ensure_ascii=False)


class InputField(Declared):
    """One value that an application sends; longer texts are cut to ``max_chars`` before they are rendered."""

    type: Literal["text", "number", "boolean", "json"] = "text"
    max_chars: Annotated[int, Strict(), Field(ge=1)] | None = None


class Output(Declared):
    """How the model's answer is read. ``field`` names it in an Example's ``expected``; ``json_schema`` is ``schema`` in the file."""

    field: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "output"
    parser: Literal["text", "label", "json", "list"] = "text"
    labels: tuple[Word, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
