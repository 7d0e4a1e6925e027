"""Every parser by name: how a model's text becomes a value, and a value the text that a model should have written.

Packages add to those that are declared here by an entry point of group ``detent.parsers``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.base.canonical import read_json, read_json_inside
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.registry import Registration, Registry, declares
from optimizer.core.family.settings import Output

# Raise it with every change that reads some text differently: scores before and after are not comparable.
PARSER_VERSION = 2

_FENCE = re.compile(r"^```[a-zA-Z0-9_-]*[ \t]*\n(.*?)\n?```", re.DOTALL | re.MULTILINE)
_BULLET = re.compile(r"^(?:[-*•·]|\d{1,3}[.)])\s+")


def plain_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserRecord:
    """How outputs are read.

    Args:
        read: (text, the family's output) -> value; raises ValueError with the reason where the text holds none.
        write: value -> the text that reads back as it, as examples show it to a model.
        name, place, package: a package's are those of its entry point and distribution.
    """

    read: Callable[[str, Output], Any] = field(kw_only=False)
    write: Callable[[Any], str] = plain_text
    name: str = ""
    place: str = ""
    package: str = ""


parser = declares(ParserRecord)


def _first_text(value: Any) -> str:
    """The first of several good answers, which is the one that is shown."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else ""
    return plain_text(value)


@parser(name="text", write=_first_text)
def _text(text: str, output: Output) -> str:
    stripped = text.strip()
    if not stripped:
        raise ValueError("empty output")
    return stripped


@parser(name="label", write=_first_text)
def _label(text: str, output: Output) -> str:
    labels = output.labels or ()
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    for form in (fold_label, _bare):
        answer = form(first)
        same = [label for label in labels if answer and form(label) == answer]
        if len(same) == 1:
            return same[0]
    # Labels that the line has as whole words; a label inside a longer one does not count.
    line = fold_label(first)
    inside = []
    for label in sorted(labels, key=len, reverse=True):
        line, n = re.subn(r"(?<!\w)" + re.escape(fold_label(label)) + r"(?!\w)", " \x00 ", line)
        if n:
            inside.append(label)
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise ValueError(f"no label: {', '.join(inside)} all stand in the first line")
    raise ValueError("no label" + (": empty output" if not first else ""))


def fold_label(text: str) -> str:
    """Two texts that fold alike are one label."""
    return " ".join(text.casefold().split())


def _bare(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


@parser(name="json", write=lambda value: json.dumps(value, ensure_ascii=False))
def _json(text: str, output: Output) -> Any:
    try:
        value = _first_json(text)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error
    if output.json_schema is not None:
        from optimizer.core.base.json_schema import schema_fault  # here, because most families need none of it

        fault = schema_fault(output.json_schema, value)
        if fault is not None:
            raise ValueError(fault)
    return value


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


def _items(text: str) -> list[Any]:
    try:
        value = _first_json(text) if text.lstrip().startswith(("[", "```")) else None
    except ValueError:
        value = None
    if isinstance(value, list):
        return value
    lines = (_BULLET.sub("", line.strip()).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _list_text(value: Any) -> str:
    """Lines where they read back the same, else a JSON array."""
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if items and all(isinstance(i, str) for i in items):
        lines = "\n".join(items)
        if _items(lines) == list(items):
            return lines
    return json.dumps(list(items), ensure_ascii=False)


@parser(name="list", write=_list_text)
def _list(text: str, output: Output) -> list[Any]:
    return _items(text)


def _whole(added: Registration, record: ParserRecord) -> ParserRecord:
    """Whatever a package's code raises becomes the reason why nothing was read."""
    if not added.package:
        return replace(record, name=added.name)
    if not callable(record.read):
        raise TypeError(
            f"it is a {type(record.read).__name__}, not a function (text, output) -> value, nor a ParserRecord with one"
        )

    def read(text: str, output: Output) -> Any:
        try:
            return record.read(text, output)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"the parser {added.name} of {added.package} failed: {type(error).__name__}: {error}"
            ) from error

    def write(value: Any) -> str:
        try:
            return record.write(value)
        except Exception as error:
            raise InvalidInput(
                f"The parser {added.name} of {added.package} cannot write an expected output as text"
                f" ({type(error).__name__}: {error}). Correct the example, or that package."
            ) from error

    return replace(record, read=read, write=write, name=added.name, place=added.place, package=added.package)


PARSERS: Registry[ParserRecord] = Registry("detent.parsers", "parser", ParserRecord, _whole)


def unknown_parser(name: str) -> str:
    """The error for a family that names such a parser; it lists all that there are."""
    return " ".join(
        [
            f"there is no parser {name!r}; known are {', '.join(PARSERS.names)}",
            *(f"({sentence})" for sentence in PARSERS.refused),
        ]
    )


def parser_of(output: Output) -> ParserRecord:
    """The parser. Raises InvalidInput where no package has it any more, or it cannot be loaded."""
    if output.parser not in PARSERS:
        raise InvalidInput(unknown_parser(output.parser))
    return PARSERS[output.parser]
