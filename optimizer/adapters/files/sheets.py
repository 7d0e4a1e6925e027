"""A person's examples as columns and rows, from which a new family is drafted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimizer.adapters.files import example_files
from optimizer.adapters.files.table_files import open_table
from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.draft import Sheet


def read_sheet(path: Path, *, encoding: str | None = None, delimiter: str | None = None) -> Sheet:
    """A CSV file or JSON lines; of examples their inputs and expected fields, flattened.

    Raises InvalidInput where a line is no JSON object; what cannot be read of a CSV file stands in ``refused``.
    """
    if example_files.kind_of(path) == "csv":
        table = open_table(path, encoding=encoding, delimiter=delimiter)
        read = list(table.rows())
        return Sheet(
            columns=table.columns,
            rows=tuple((where, row) for where, row, _ in read if row is not None),
            refused=tuple((where, why) for where, _, why in read if why is not None),
        )
    rows: list[tuple[str, dict[str, Any]]] = []
    for where, record, why in example_files.read_json_lines(path):
        if record is None:
            raise InvalidInput(f"{path}, {where}: {why}.")
        rows.append((where, {**record, **dict(record.get("input") or {}), **dict(record.get("expected") or {})}))
    names = dict.fromkeys(name for _, row in rows for name in row if name not in ("input", "expected"))
    return Sheet(columns=tuple(names), rows=tuple(rows))
