"""What the server answers, as a notebook shows it: a record, and a table of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, overload

from detent_client.errors import DetentError

MAX_CELL_CHARS, MAX_MEMBER_CHARS = 60, 300
PLAIN = (str, int, float, bool)


class MissingPackage(DetentError):
    """Its text names the command that installs it."""


class Record(Mapping[str, Any]):
    """One answer: members by name, or as attributes. Objects within it are records too."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = dict(members)

    def __getitem__(self, name: str) -> Any:
        return _wrapped(self._members[name])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"It has no {name!r}; it has {', '.join(self._members)}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._members]

    def __repr__(self) -> str:
        width = max(map(len, self._members), default=0)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self._shown().items())

    def _repr_html_(self) -> str:
        return _html([], [[f"<b>{escape(name)}</b>", escape(value)] for name, value in self._shown().items()])

    def _shown(self) -> dict[str, str]:
        return {name: _cell(value, MAX_MEMBER_CHARS) for name, value in self._members.items()}

    def to_dict(self) -> dict[str, Any]:
        """As the server sent it."""
        return self._members


class Table(Sequence[Record]):
    """Records in order. ``columns``: those that are shown; the others are there too."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
        self._rows = [dict(row) for row in rows]
        self.columns = tuple(columns) or tuple(
            dict.fromkeys(name for row in self._rows for name, value in row.items() if isinstance(value, PLAIN))
        )

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Table: ...
    def __getitem__(self, at: int | slice) -> Record | Table:
        return Table(self._rows[at], self.columns) if isinstance(at, slice) else Record(self._rows[at])

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        lines = [list(self.columns), *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _repr_html_(self) -> str:
        return _html(self.columns, [[escape(cell) for cell in line] for line in self._cells()])

    def __rich__(self) -> Any:
        """For rich, which asks for it."""
        from importlib import import_module

        table = import_module("rich.table").Table(*self.columns)
        for line in self._cells():
            table.add_row(*line)
        return table

    def to_dataframe(self) -> Any:
        """A pandas DataFrame of all members. Raises MissingPackage without pandas."""
        try:
            import pandas
        except ImportError:
            raise MissingPackage("A DataFrame needs pandas: pip install './client[notebook]'") from None
        return pandas.DataFrame(self._rows)

    def _cells(self) -> list[list[str]]:
        most_chars = MAX_CELL_CHARS if len(self.columns) > 3 else MAX_MEMBER_CHARS
        return [[_cell(row.get(name), most_chars) for name in self.columns] for row in self._rows]


def _wrapped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Record(value)
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return Table(value)
    return value


def _cell(value: Any, most_chars: int) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"


def _html(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in columns)}</tr></thead>" if columns else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table>{head}<tbody>{body}</tbody></table>"
