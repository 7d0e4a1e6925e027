"""``golden.jsonl`` beside a family's file: its golden scenarios, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from optimizer.core.base.strict_json import read_json
from optimizer.core.declaration.read import invalid_family
from optimizer.core.family.family import Family
from optimizer.core.family.golden import read_golden

FILE_NAME = "golden.jsonl"


def with_golden_text(family: Family, text: str, *, file: str) -> Family:
    """The family with the scenarios of the text.

    Args:
        file: how faults name the file.
    Raises:
        InvalidFamily: every fault at once, each with file and line.
    """
    rows, faults = read_golden(_lines(text), family)
    if faults:
        raise invalid_family(file, [replace(fault, file=file) for fault in faults])
    return family.with_golden(rows)


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for n, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield n, read_json(line)
        except ValueError:
            yield n, None
