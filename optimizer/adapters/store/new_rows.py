"""Rows of which none is stored yet, as the driver's own tuples: on the way of every event, building a dictionary for
each row and asking each column costs more than writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import JSON, Connection, Table
from sqlalchemy.engine import Dialect

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.tables import Utc
from optimizer.core.base.errors import Busy

Value = Callable[[Any], Any]
ROWS_AT_MOST = 256  # of one statement: thirty columns each are a quarter of the values that SQLite binds
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
            some = [_as_stored(row, values) for row in rows[done : done + size]]
            n += tx.exec_driver_sql(_statement(table, size), tuple(chain.from_iterable(some))).rowcount
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


def _as_stored(row: Sequence[Any], values: Sequence[tuple[int, Value]]) -> list[Any]:
    stored = list(row)
    for place, stored_as in values:
        if stored[place] is not None:
            stored[place] = stored_as(stored[place])
    return stored


@cache
def _statement(table: Table, n_rows: int) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = f"({', '.join('?' for _ in table.columns)})"
    return f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join([marks] * n_rows)} ON CONFLICT DO NOTHING'


@lru_cache(maxsize=16)
def _values(dialect: Dialect, table: Table) -> list[tuple[int, Value]]:
    """For each column whose values are stored in another form its place, and what makes that form. Numbers, truth and
    texts are as SQLite's driver takes them.
    """
    found: list[tuple[int, Value]] = []
    for place, column in enumerate(table.columns):
        if isinstance(column.type, Utc | JSON):
            stored_as = column.type.dialect_impl(dialect).bind_processor(dialect)
            assert stored_as is not None
            found.append((place, lru_cache(maxsize=TIMES)(stored_as) if isinstance(column.type, Utc) else stored_as))
    return found
