"""What every table is declared with: its columns are the fields of the record that its rows hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeDecorator, TypeEngine

from optimizer.adapters.store.family_names import FamilyKey
from optimizer.core.feedback.events import Arm

METADATA = MetaData()


class Utc(TypeDecorator[datetime]):
    """Aware UTC datetimes in and out, on databases that forget the zone too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored; use UTC")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_TYPES: Mapping[Any, type[TypeEngine[Any]]] = {
    str: String,
    Literal: String,
    bool: Boolean,
    int: Integer,
    float: Float,
    datetime: Utc,
}
_JSON = JSON(none_as_null=True)


def table(
    name: str,
    record: type | None,
    key: Collection[str],
    /,
    *parts: SchemaItem,
    without: Collection[str] = (),
    numbered: bool = False,
    **own: Any,
) -> Table:
    """A table with a column for each field of ``record``, in the order of the fields, and behind them those of ``own``.

    A column's type follows from the field's: texts and ``Literal``, numbers, booleans and times (UTC) have one each,
    and all else, such as mappings, sequences and other records, is JSON. It may be NULL where the field may be None. An
    ``Arm`` gives a column for each of its fields. No column has a default: who inserts a row gives all that may not
    be NULL.

    Args:
        record: None for rows that no record of the core or the ports holds.
        key: columns of the primary key, in their order.
        parts: indexes and what is unique. ``Index(None, column)`` is named after the table and the column.
        without: fields that are no column.
        numbered: the database numbers the rows, and never gives a number again.
        own: columns that are no field, or hold one in another form, each with a type as a field would have it, or with
            the column type itself.
    """
    hints = own if record is None else dict(_fields(record)) | own
    columns = [_column(column, hint) for column, hint in hints.items() if column not in without]
    return Table(name, METADATA, *columns, PrimaryKeyConstraint(*key), *parts, sqlite_autoincrement=numbered)


def _fields(record: type) -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(record).items():
        yield from get_type_hints(Arm).items() if hint is Arm else ((name, hint),)


def _column(name: str, hint: Any) -> Column[Any]:
    choices = [choice for choice in get_args(hint) if choice is not NoneType] if NoneType in get_args(hint) else [hint]
    kind = _TYPES.get(get_origin(choices[0]) or choices[0], _JSON)
    if name in ("family", "active_family"):
        kind = FamilyKey
    return Column(name, hint if isinstance(hint, TypeEngine) else kind, nullable=NoneType in get_args(hint))
