"""Rows of the database as records, by the names of their fields, and queries that a filter may narrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Select

T = TypeVar("T")


def first(
    tx: Connection, query: Select[Any], record: Callable[[RowMapping], T], values: Mapping[str, Any] | None = None
) -> T | None:
    """The record of the query's first row; None where it has none."""
    row = tx.execute(query, values).mappings().first()
    return None if row is None else record(row)


def record_of(kind: type[T], row: RowMapping, **own: Any) -> T:
    """The dataclass with the row's values; ``own`` are those that the row holds in another form."""
    fields: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: row[name] for name in fields if name not in own}, **own)


def columns_of(record: Any, **own: Any) -> dict[str, Any]:
    """The dataclass's fields by name, not copied; ``own`` are columns that hold another form, or are no field."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__} | own


def narrowed(query: Select[Any], *wanted: tuple[ColumnElement[Any], Any]) -> Select[Any]:
    """``query`` where each column has its value; a value that is None narrows nothing."""
    return query.where(*(column == value for column, value in wanted if value is not None))
