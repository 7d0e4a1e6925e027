"""Rows of which none is stored yet, as the driver's own tuples: on the way of every event, building a dictionary for
each row and asking each column costs more than writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import JSON, Connection, Table
from sqlalchemy.engine import Dialect

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.family_names import FamilyKey, key_of
from optimizer.adapters.store.tables import Utc
from optimizer.core.base.errors import Busy

Value = Callable[[Any], Any]
ROWS_AT_MOST = 256  # of one statement: thirty columns each are a quarter of the values that SQLite binds
STATEMENTS = 256  # that are kept: by table, columns and number of rows
TIMES = 4096  # of events that share theirs: when they were received, when their cohort began


def insert_rows(tx: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Rows with a value for each column of the table, in its order.

    Raises Busy where one is there already: another process wrote it at this moment.
    """
    if not rows:
        return
    if tx.dialect.name == "sqlite":
        values = _values(tx.dialect, table)
        n, done = 0, 0
        for size in _sizes(len(rows)):
            places, columns = _columns(rows[done : done + size], table, values)
            statement = _statement(table, places, size)
            n += tx.exec_driver_sql(statement, tuple(chain.from_iterable(zip(*columns, strict=True)))).rowcount
            done += size
    else:
        names = [column.name for column in table.columns]
        n = insert_new(tx, table, [dict(zip(names, row, strict=True)) for row in rows])
    if n < len(rows):
        raise Busy(
            "Another process wrote rows with the same ids at the same moment; nothing was written. Send again.",
            retry_after_s=1,
        )


def _sizes(n: int) -> Iterator[int]:
    """Powers of two that add up to n: a statement of each is prepared once, and lets other threads run once. A driver's
    own way, a step of the statement for each row, waits for the interpreter behind every row.
    """
    while n:
        size = min(ROWS_AT_MOST, 1 << n.bit_length() - 1)
        yield size
        n -= size


def _columns(
    rows: Sequence[Sequence[Any]], table: Table, values: Mapping[int, Value]
) -> tuple[tuple[int, ...], list[Sequence[Any]]]:
    """The places of the columns that have a value in any row, and these columns as they are stored. What is bound costs
    more than what is stored, and of an event most is absent.
    """
    places: list[int] = []
    columns: list[Sequence[Any]] = []
    for place, column in enumerate(zip(*rows, strict=True)):
        if column.count(None) == len(rows) and place in _absent(table):
            continue
        stored_as = values.get(place)
        places.append(place)
        columns.append(
            column if stored_as is None else [None if value is None else stored_as(value) for value in column]
        )
    return tuple(places), columns


@cache
def _absent(table: Table) -> frozenset[int]:
    """The places of columns in which a row has NULL where it says nothing."""
    return frozenset(
        place
        for place, column in enumerate(table.columns)
        if column.nullable and column.server_default is None and column.default is None
    )


@lru_cache(maxsize=STATEMENTS)
def _statement(table: Table, places: Sequence[int], n_rows: int) -> str:
    columns = [table.columns[place] for place in places]
    names = ", ".join(f'"{column.name}"' for column in columns)
    marks = f"({', '.join('?' for _ in columns)})"
    return f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join([marks] * n_rows)} ON CONFLICT DO NOTHING'


@lru_cache(maxsize=16)
def _values(dialect: Dialect, table: Table) -> dict[int, Value]:
    """By the place of each column whose values are stored in another form what makes that form. Numbers, truth and
    texts are as SQLite's driver takes them.
    """
    stored: dict[int, Value] = {}
    for place, column in enumerate(table.columns):
        if isinstance(column.type, FamilyKey):
            stored[place] = key_of
        elif isinstance(column.type, Utc | JSON):
            stored_as = column.type.dialect_impl(dialect).bind_processor(dialect)
            assert stored_as is not None
            stored[place] = lru_cache(maxsize=TIMES)(stored_as) if isinstance(column.type, Utc) else stored_as
    return stored
