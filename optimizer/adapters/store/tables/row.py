"""What every table is declared with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, Column, DateTime, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel
from sqlmodel.main import get_column_from_field

from optimizer.adapters.store.family_names import FamilyKey


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


def json_field(nullable: bool = False) -> Any:
    return Field(default=None, sa_type=JSON(none_as_null=True), nullable=nullable)


def time_field(nullable: bool = False, **kwargs: Any) -> Any:
    return Field(default=None, sa_type=Utc, nullable=nullable, **kwargs)


FAMILIES = ("family", "active_family")  # columns that hold a family's key
NUMBERED_ONCE = {"sqlite_autoincrement": True}


class Row(SQLModel):
    """Declares a table, which is all that it is for: what asks and writes is SQLAlchemy's core.

    ``table=True`` would make a mapped class too, which nothing here uses: with 34 of them this package takes more than
    twice as long to load.
    """

    model_config = {"defer_build": True}
    __table_args__: ClassVar[tuple[Any, ...]] = ()
    __table_kwargs__: ClassVar[Mapping[str, Any]] = {}
    __table__: ClassVar[Table]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        columns = [_named(get_column_from_field(field), name) for name, field in cls.model_fields.items()]
        cls.__table__ = Table(
            str(cls.__tablename__), SQLModel.metadata, *columns, *cls.__table_args__, **cls.__table_kwargs__
        )


def _named(column: Column[Any], name: str) -> Column[Any]:
    column.name = column.key = name
    if name in FAMILIES:
        column.type = FamilyKey()
    return column
