"""Parameters of SciPy's public functions as examples: name and description > the type that their author gave them.

What is read is the section "Parameters" of each docstring: ``name : type`` with the description indented below it
(numpydoc's form).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from optimizer.adapters.files.installed_docs import installed_docstrings
from optimizer.adapters.files.installed_docs_text import clean_prose, cut_at_sentence
from optimizer.ports import SourceRow

MAX_CHARS = 300
MIN_CHARS = 20  # of a description
# How an author's words begin for each type; what may be of several types, or None, is left out.
TYPES = {
    "array": re.compile(r"(?:\([^)]*\)\s*)?(?:array|ndarray|array_like|array-like|sequence)\b"),
    "bool": re.compile(r"(?:bool|boolean)\b"),
    "callable": re.compile(r"(?:callable|function)\b"),
    "float": re.compile(r"float\b"),
    "int": re.compile(r"(?:int|integer)\b"),
    "str": re.compile(r"(?:str|string)\b"),
}
_SECTION = re.compile(r"^Parameters\n-{3,}\n(.*?)(?=^\S[^\n]*\n[-=]{3,}$|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\w+) ?: ([^\n]+)\n((?:(?:[ \t]+[^\n]*)?(?:\n|\Z))+)", re.MULTILINE)
_SEVERAL = re.compile(r"\bor\b|\bNone\b")


def parameters_for(*, input_field: str, output_field: str, labels: tuple[str, ...]) -> Iterator[SourceRow]:
    """Each parameter once per text, with its name in front; those of one name are one group,
    so that no split holds what another does.

    Raises:
        InvalidInput: SciPy is not installed.
    """
    seen: set[str] = set()
    for place, function, doc in installed_docstrings():
        for name, written, description in _parameters(doc):
            text = cut_at_sentence(f"{name}. {description}", MAX_CHARS)
            if text in seen:
                continue
            seen.add(text)
            type = _type_of(written)
            reason = None
            if type is None:
                reason = "of several types, or of one that is not told apart here"
            elif type not in labels:
                reason = f"type {type!r} is no label of this family"
            elif len(description) < MIN_CHARS:
                reason = f"description shorter than {MIN_CHARS} characters"
            yield SourceRow(
                where=f"scipy.{place}.{function}, {name}",
                input={input_field: text},
                expected={output_field: type},
                group=name,
                rejected=reason,
            )


def _parameters(doc: str) -> Iterator[tuple[str, str, str]]:
    """(name, type as written, description as prose) of a docstring's parameters."""
    section = _SECTION.search(doc)
    for entry in _ENTRY.finditer(section.group(1)) if section is not None else ():
        name, written, description = entry.groups()
        yield name, written.strip(), clean_prose(inspect.cleandoc(description))


def _type_of(written: str) -> str | None:
    if _SEVERAL.search(written):
        return None
    return next((name for name, begins in TYPES.items() if begins.match(written)), None)
