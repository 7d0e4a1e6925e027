"""Files of a person's own: what they hold, and their JSON lines, read as a stream;
tables are read by ``table_files``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.strict_json import read_json

Kind = Literal["examples", "feedback", "dialogs", "csv"]
Record = tuple[str, Mapping[str, Any] | None, str | None]  # (where, the object, or None and why it is none)
_EVENT_FIELDS = {"score", "success", "label", "output", "assignment", "interaction", "error", "latency_ms"}
_EXAMPLE_FIELDS = {"id", "group", "input"}
_DIALOG_FIELDS = {"dialog_id", "prompts", "turns", "messages"}
TABLES = (".csv", ".tsv", ".tab", ".xlsx", ".xls")  # a workbook is told from a table by what it holds, with what to do
MAX_LINE_CHARS = 4_000_000


def kind_of(path: Path) -> Kind:
    """What a file holds, told by its name and its first readable line.

    Raises:
        NotFound: there is no such file, or it is a folder.
        InvalidInput: it is neither CSV nor JSON lines of a known shape; the sentence shows the shapes.
    """
    if path.is_dir():
        raise NotFound(f"Cannot import {str(path)!r}: it is a folder. Name one of its files.")
    if not path.is_file():
        raise NotFound(f"Cannot import {str(path)!r}: there is no such file. The other source is 'installed-docs'.")
    if path.suffix.lower() in TABLES:
        return "csv"
    first = next((record for _, record, _ in read_json_lines(path) if record is not None), None)
    if first is not None:
        if "input" in first and "expected" in first and not _EVENT_FIELDS & first.keys():
            return "examples"
        if "input" in first and first.keys() <= _EXAMPLE_FIELDS:  # of open answers, which a judge scores
            return "examples"
        if _DIALOG_FIELDS & first.keys():
            return "dialogs"
        if _EVENT_FIELDS & first.keys() or "expected" in first:
            return "feedback"
    raise InvalidInput(
        f'Cannot tell what {path.name!r} holds. Examples look like {{"input": {{...}}, "expected": {{...}}}}, feedback'
        ' events like {"id": "...", "unit": "...", "score": 0.8}, one JSON object per line; a table ends in .csv and'
        " needs --input and --output."
    )


def read_json_lines(path: Path) -> Iterator[Record]:
    """Every line that is not blank: (line n, object, None) or (line n, None, why)."""
    with path.open("rb") as file:
        for n, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            where = f"line {n}"
            if len(raw) > MAX_LINE_CHARS:
                yield where, None, f"longer than {MAX_LINE_CHARS:,} characters"
                continue
            try:
                record = read_json(raw)
            except ValueError:
                yield where, None, "no JSON object in one line"
                continue
            if isinstance(record, dict):
                yield where, record, None
            else:
                yield where, None, "no JSON object in one line"


def column_mapping(
    columns: Sequence[str], inputs: Sequence[str], output: str, named: Mapping[str, str], *, may_lack: bool = False
) -> dict[str, str]:
    """Field of the family > column of the file: as given, else the column of the same name.

    Args:
        named: from --input FIELD=COLUMN and --output FIELD=COLUMN (or the column alone).
        may_lack: inputs without a column are left out, as not measured; one at least has to be there.
    Raises:
        InvalidInput: a field has no column, a column named does not exist, or a name stands twice in the first line.
    """
    twice = sorted(column for column, n in Counter(columns).items() if column and n > 1)
    if twice:
        raise InvalidInput(
            f"The first line names {', '.join(map(repr, twice))} more than once, so it is unclear which column is"
            " meant. Rename one."
        )
    mapping = {name: named.get(name, name) for name in (*inputs, output)}
    missing = {field: column for field, column in mapping.items() if column not in columns}
    lacked = (
        [field for field in missing if may_lack and field != output and field not in named]
        if set(inputs) - set(missing)
        else []
    )
    if set(missing) - set(lacked):
        shown = {field: column for field, column in missing.items() if field not in lacked}
        known = f"its columns are {', '.join(map(repr, columns)) or 'none'}"
        if may_lack and len(shown) > 1 and not any(field in named for field in inputs):
            raise InvalidInput(
                f"None of the file's columns is an input of the family; {known}. Name one at least with --input"
                f" FIELD=COLUMN, of the fields {', '.join(inputs)}"
                + (f", and the output with --output {output}=COLUMN." if output in shown else ".")
            )
        options = " ".join(f"--{'output' if f == output else 'input'} {f}=COLUMN" for f in shown)
        raise InvalidInput(
            f"The file has no column {', '.join(map(repr, shown.values()))}; {known}. Name the right ones with"
            f" {options}."
        )
    return {field: column for field, column in mapping.items() if field not in lacked}


def json_or_text(text: str) -> Any:
    """The JSON value that a cell holds, else its text."""
    try:
        return read_json(text)
    except ValueError:
        return text
