"""All tables as rows of JSON values, without those that hold secrets or a moment's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, String, insert, literal, select, type_coerce
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.types import DateTime

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.family_names import FamilyKey
from optimizer.adapters.store.migrations import later_revision, revisions
from optimizer.adapters.store.tables import METADATA, Utc
from optimizer.adapters.store.tables.examples import EXAMPLES, HOLDOUT_LOOKS as LOOKS
from optimizer.adapters.store.tables.variants import FAMILY_NAMES

AT_ONCE = 500  # rows
SECRET = ("api_keys", "key_usage", "callers")
OF_A_MOMENT = ("idempotency_keys", "serving_version")
_LAST = FAMILY_NAMES.name  # a transaction that knows names would take a key for one of them


class TableRows:
    """ports.Tables on the database."""

    def names(self) -> Sequence[str]:
        names = {table.name for table in METADATA.sorted_tables} - {*SECRET, *OF_A_MOMENT, _LAST}
        return [*sorted(names), _LAST]

    def revision(self) -> str:
        return revisions()[-1]

    def later_revision(self, tx: Connection) -> str | None:
        return later_revision(tx)

    def each(self, tx: Connection, table: str) -> Iterator[Mapping[str, Any]]:
        rows = METADATA.tables[table]
        columns = [
            type_coerce(column, String).label(column.name) if isinstance(column.type, FamilyKey) else column
            for column in rows.columns
        ]
        query = select(*columns).order_by(*rows.primary_key.columns).execution_options(yield_per=AT_ONCE)
        for row in tx.execute(query).mappings():
            yield {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}

    def add(self, tx: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        into = METADATA.tables[table]
        of_time = [column.name for column in into.columns if isinstance(column.type, Utc | DateTime)]
        values: list[dict[str, Any]] = []
        for row in rows:
            if set(row) != set(into.columns.keys()):
                raise ValueError(f"a row of {into.name} has other columns")
            times = {name: datetime.fromisoformat(row[name]) for name in of_time if row[name] is not None}
            values.append({**row, **times})
        try:
            return insert_new(tx, into, values)
        except OperationalError:  # of the database, not of a row
            raise
        except StatementError as error:
            raise ValueError(f"a row of {into.name} cannot be stored: {error.orig}") from None

    def look_at_holdout(self, tx: Connection, look: str, at: datetime) -> int:
        columns = EXAMPLES.c.family, EXAMPLES.c.id, literal(look), literal(at, Utc)
        sealed = select(*columns).where(EXAMPLES.c.split == "holdout")
        return tx.execute(insert(LOOKS).from_select(["family", "example", "study", "looked_at"], sealed)).rowcount
