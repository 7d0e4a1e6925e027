"""Golden scenarios: requests that every Variant has to go on answering. ``golden.jsonl`` beside the file declares them.

No study, proposer or prompt reads them; a suite asks them before a rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Fault
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.dataset.examples import normalise
from optimizer.core.family.family import Family, GoldenRow, kind_of

KEYS = ("id", "scenario", "input", "expected", "counts", "tags")
MAX_ROWS = 1000  # each is asked of the candidate and of the champion
MAX_NAME_CHARS = 100
GOLDEN_ID, OF_EXAMPLE = "golden/", "example/"  # how ids begin: of a row among examples, of one made of an example


def example_of(id: str) -> str:
    """The id of the example that a golden row among examples was made of; any other id as it is."""
    return id.removeprefix(GOLDEN_ID + OF_EXAMPLE)


NumberedLine = tuple[int, Any]  # (line, its JSON value, or None where it is no JSON)


def read_golden(lines: Iterable[NumberedLine], family: Family) -> tuple[tuple[GoldenRow, ...], list[Fault]]:
    """The rows of a golden file and everything that is wrong with it, each fault with its line.

    A row: ``{"id", "scenario"?, "input", "expected", "counts"?, "tags"?}``; scenario: default its id.
    """
    rows: list[GoldenRow] = []
    faults: list[Fault] = []
    ids: dict[str, int] = {}
    inputs: dict[str, int] = {}
    if not kind_of(family).asks_models:
        detail = f"golden scenarios are answered by a model, and a family of kind {family.kind} asks none; remove it"
        return (), [Fault(pointer="", detail=detail, line=1)]
    for line, data in lines:
        details = _wrong(data, family)
        if not details:
            row = GoldenRow(
                id=data["id"],
                scenario=data.get("scenario", data["id"]),
                input=dict(data["input"]),
                expected=dict(data["expected"]),
                counts=tuple(dict.fromkeys(data.get("counts", ()))),
            )
            for what, seen, key in (("id", ids, row.id), ("input", inputs, normalise(row.input))):
                if (before := seen.setdefault(key, line)) != line:
                    details.append(f"line {before} has the same {what}; give each row its own")
            rows.append(row)
        faults += [Fault(pointer="", detail=detail, line=line) for detail in details]
    if len(rows) > MAX_ROWS:
        detail = f"{len(rows):,} rows, and {MAX_ROWS:,} are the most: each is asked of candidate and champion"
        faults.append(Fault(pointer="", detail=detail, line=1))
    return tuple(rows), faults


def golden_digest(rows: Iterable[GoldenRow]) -> str:
    """Names what is asked and expected; the order of the rows says nothing."""
    plain = [
        {
            "id": row.id,
            "scenario": row.scenario,
            "input": dict(row.input),
            "expected": dict(row.expected),
            "counts": sorted(row.counts),
        }
        for row in sorted(rows, key=lambda row: row.id)
    ]
    return digest(canonical_json(plain))[:12]


def scoring_of(family: Family, row: GoldenRow) -> Family:
    """The family with only the metrics that count for the row."""
    if not row.counts or not family.scorer:
        return family
    return family.model_copy(update={"scorer": {name: family.scorer[name] for name in row.counts}})


def _wrong(data: Any, family: Family) -> list[str]:
    """What is wrong with one row, in sentences that quote none of its texts."""
    if not isinstance(data, Mapping):
        return ['no JSON object in one line; a row looks like {"id": "...", "input": {...}, "expected": {...}}']
    details = [
        f"unknown key {key!r}{did_you_mean(key, KEYS) or '; known: ' + ', '.join(KEYS)}"
        for key in data
        if key not in KEYS
    ]
    details += [
        f"{name} is missing, or no text of 1 to {MAX_NAME_CHARS} characters"
        for name in ("id", "scenario")
        if (name == "id" or name in data)
        and not (isinstance(value := data.get(name), str) and 1 <= len(value.strip()) <= MAX_NAME_CHARS)
    ]
    details += [
        f"{name} is missing, or no object of names and values"
        for name in ("input", "expected")
        if not isinstance(data.get(name), Mapping)
    ]
    counts = data.get("counts", [])
    if not (isinstance(counts, list) and all(isinstance(name, str) for name in counts)):
        details.append("counts is no list of metrics")
    else:
        known = f"this family's score has {', '.join(family.metrics)}"
        details += [f"counts names {name!r}; {known}" for name in counts if name not in family.metrics]
    if details:
        return details
    fault = kind_of(family).example_fault(family, data["input"], data["expected"])
    return [fault] if fault is not None else []
