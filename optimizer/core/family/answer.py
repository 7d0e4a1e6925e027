"""From a model's text to a value, and from an expected value to the text that a model should have written.

``parsers.py`` has the ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.parsers import parser_of
from optimizer.core.family.settings import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAnswer:
    """``value`` where the text could be read, else ``error`` with the reason."""

    value: Any = None
    error: str | None = None


def parse_output(output: Output, text: str) -> ParsedAnswer:
    """Reads the model's text by the parser that the Family declares.

    Never raises: a text that cannot be read is the model's failure and is scored as such.
    """
    try:
        return ParsedAnswer(value=parser_of(output).read(text, output))
    except ValueError as unreadable:
        return ParsedAnswer(error=str(unreadable))
    except InvalidInput as broken:
        return ParsedAnswer(error=broken.detail)


def expected_value(output: Output, expected: Mapping[str, Any]) -> Any:
    """The part of an Example's ``expected`` that the output is compared with;
    raises InvalidInput when it is not there.
    """
    if output.field not in expected:
        raise InvalidInput(
            f"The expected output has no {output.field!r}, only {', '.join(expected) or 'nothing'}. "
            f"Name the field as the family's output.field does, or change output.field."
        )
    return expected[output.field]


def expected_text(output: Output, expected: Mapping[str, Any]) -> str:
    """An expected output as an assistant message: reading it back with ``parse_output`` gives the expected value."""
    return parser_of(output).write(expected_value(output, expected))


def shown_text(output: Output, expected: Mapping[str, Any]) -> str:
    """An expected output as a few-shot example shows it; raises InvalidInput where the Example has nothing to show."""
    if output.shown is None:
        return expected_text(output, expected)
    if expected.get(output.shown) in (None, "", []):
        raise InvalidInput(
            f"The expected output has no {output.shown!r}, which output.shown names, so it shows no answer. It can be"
            f" scored all the same."
        )
    return parser_of(output).write(expected[output.shown])
