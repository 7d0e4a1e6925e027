"""What the repositories share: rows as records, queries with filters, pages, and rows that are written once.

Rows named by (family, id) are written once; a later row of the same name is compared by content hash. A cursor says
where the last page ended, as base64url of JSON. Its content may change, since clients only hand it back.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Connection,
    CursorResult,
    RowMapping,
    Select,
    Table,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from optimizer.adapters.store.engine import are_one_of, insert_new
from optimizer.adapters.store.family_names import key_of
from optimizer.core.base.canonical import is_unicode
from optimizer.core.base.errors import Busy, Fault, InvalidInput
from optimizer.core.base.values import grouped
from optimizer.ports import Added

SAME_IDS = "Another process wrote rows with the same ids at the same moment; nothing was written. Send again."


def cursor_at(*position: datetime | str | int) -> str:
    plain = [p.isoformat() if isinstance(p, datetime) else p for p in position]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def position_of(cursor: str, *kinds: type) -> list[Any]:
    """The position, one value per kind (datetime, str, int).

    Raises InvalidInput for anything that ``cursor_at`` did not make.
    """
    try:
        plain = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(plain, list) or len(plain) != len(kinds):
            raise ValueError
        return [_read(value, kind) for value, kind in zip(plain, kinds, strict=True)]
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise InvalidInput(
            "This cursor was not made by this server; take next_cursor of the page before, unchanged.",
            [Fault(pointer="/cursor", detail="unknown cursor")],
        ) from None


def newest_first(query: Select[Any], table: Table, cursor: str | None, limit: int) -> Select[Any]:
    """The query in the order of ``created_at`` and ``id``, behind the cursor, with one row more than the page has."""
    c = table.c
    query = query.order_by(c.created_at.desc(), c.id.desc()).limit(limit + 1)
    if cursor is None:
        return query
    at, id = position_of(cursor, datetime, str)
    return query.where(or_(c.created_at < at, and_(c.created_at == at, c.id < id)))


def page_of(
    rows: Sequence[T], limit: int, position: Callable[[T], Sequence[datetime | str | int]]
) -> tuple[list[T], str | None]:
    """Splits ``limit + 1`` rows as queried into the page and the cursor of the next one, None at the end."""
    if len(rows) <= limit:
        return list(rows), None
    shown = list(rows[:limit])
    return shown, cursor_at(*position(shown[-1]))


def _read(value: Any, kind: type) -> Any:
    if kind is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None or not 1 < at.year < 9999:  # a time at an end of the calendar has no UTC form
            raise ValueError
        return at
    if (
        type(value) is not kind
        or (isinstance(value, int) and abs(value) >= 2**63)
        or (isinstance(value, str) and not is_unicode(value))
    ):
        raise ValueError  # no database takes such a one
    return value


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


def where_equal(query: Select[Any], *wanted: tuple[ColumnElement[Any], Any]) -> Select[Any]:
    """``query`` with each column equal to its value; a value that is None sets no condition."""
    return query.where(*(column == value for column, value in wanted if value is not None))


T = TypeVar("T")
Name = tuple[str, str]  # (family, id)

IDS_PER_QUERY = 500  # below every database's limit on bound values


def chunks(items: Sequence[T], size: int = IDS_PER_QUERY) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def where_named(
    query: Select[Any], names: Collection[Name], family: ColumnElement[str], id: ColumnElement[Any]
) -> Select[Any]:
    """The query with those rows alone that have one of these names."""
    return query.where(are_one_of(family, id, [(key_of(of), own) for of, own in names]))


def records_in(rows: CursorResult[Any], kind: Callable[..., T], **more: Any) -> list[T]:
    """A record of each row, for queries of hundreds: a mapping of each would take a fifth longer."""
    names = tuple(rows.keys())
    return [kind(**dict(zip(names, row, strict=True)), **more) for row in rows]


def families_in(tx: Connection, table: Table) -> list[str]:
    """The families, one after the other by the primary key in one query: a DISTINCT would read every event."""
    return list(tx.execute(_families_query(table)).scalars())


@cache
def _families_query(table: Table) -> Select[Any]:
    families = each_family(table)
    return select(families.c.family).where(families.c.family.is_not(None))


def each_family(table: Table) -> CTE:
    """A query part whose rows are the families in order, and None at the end: each is the least beyond the one
    before, which is one look into the index that begins with it.
    """
    families = select(func.min(table.c.family).label("family")).where(table.c.family > "").cte(recursive=True)
    following = select(func.min(table.c.family)).where(table.c.family > families.c.family).scalar_subquery()
    return families.union_all(select(following).where(families.c.family.is_not(None)))


def hashes(tx: Connection, table: Table, names: Iterable[Name]) -> dict[Name, str]:
    """Content hashes of those rows that exist."""
    by_family = grouped((family, id) for family, id in names)
    by_name: dict[Name, str] = {}
    for family, ids in by_family.items():
        for some in chunks(ids):
            for id, content_hash in tx.execute(_hashes_query(table), {"some_family": family, "some_ids": some}):
                by_name[family, id] = content_hash
    return by_name


@cache
def _hashes_query(table: Table) -> Select[Any]:
    """Built once per table: building it costs more than running it."""
    family: BindParameter[str] = bindparam("some_family")
    ids: BindParameter[str] = bindparam("some_ids", expanding=True)
    return select(table.c.id, table.c.content_hash).where(table.c.family == family, table.c.id.in_(ids))


def add_once(tx: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> list[Added]:
    """Inserts what is new; says per row whether it was, also for repetitions within ``rows``."""
    known = hashes(tx, table, [(row["family"], row["id"]) for row in rows])
    outcomes: list[Added] = []
    new = []
    for row in rows:
        name = (row["family"], row["id"])
        if name not in known:
            known[name] = row["content_hash"]
            new.append(row)
            outcomes.append("accepted")
        else:
            outcomes.append("duplicate" if known[name] == row["content_hash"] else "id_conflict")
    if insert_new(tx, table, new) < len(new):  # possible only where several processes write at once
        raise Busy(SAME_IDS, retry_after_s=1)
    return outcomes
