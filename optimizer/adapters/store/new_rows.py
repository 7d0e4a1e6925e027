"""Rows of which none is stored yet, as the driver's own tuples: on the way of every event, building a dictionary for
each row and asking each column costs more than writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.engine import Dialect

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.tables import Utc
from optimizer.core.base.errors import Busy

Value = Callable[[Any], Any]
TIMES = 4096  # of events that share theirs: when they were received, when their cohort began


def insert_rows(tx: Connection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Rows with a value for each column of the table, in its order.

    Raises Busy where one is there already: another process wrote it at this moment.
    """
    found = list(rows)
    if not found:
        return
    if tx.dialect.name == "sqlite":
        statement, values = _statement(table), _values(tx.dialect, table)
        n = tx.exec_driver_sql(statement, [_as_stored(row, values) for row in found]).rowcount
    else:
        names = [column.name for column in table.columns]
        n = insert_new(tx, table, [dict(zip(names, row, strict=True)) for row in found])
    if n < len(found):
        raise Busy(
            "Another process wrote rows with the same ids at the same moment; nothing was written. Send again.",
            retry_after_s=1,
        )


def _as_stored(row: Sequence[Any], values: Sequence[tuple[int, Value]]) -> tuple[Any, ...]:
    stored = list(row)
    for place, stored_as in values:
        if stored[place] is not None:
            stored[place] = stored_as(stored[place])
    return tuple(stored)


@cache
def _statement(table: Table) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING'


@lru_cache(maxsize=16)
def _values(dialect: Dialect, table: Table) -> list[tuple[int, Value]]:
    """For each column whose values are stored in another form its place, and what makes that form."""
    found: list[tuple[int, Value]] = []
    for place, column in enumerate(table.columns):
        stored_as = column.type.dialect_impl(dialect).bind_processor(dialect)
        if stored_as is not None:
            of_time = isinstance(column.type, Utc)
            found.append((place, lru_cache(maxsize=TIMES)(stored_as) if of_time else stored_as))
    return found
