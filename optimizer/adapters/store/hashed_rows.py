"""Rows named by (family, id), each written once; a later row of the same name is compared by content hash.

Examples are added here, events by new_rows.py; most others read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Select, Table, bindparam, func, select

from optimizer.adapters.store.engine import insert_new
from optimizer.core.base.errors import Busy
from optimizer.ports import Added

T = TypeVar("T")
Name = tuple[str, str]  # (family, id)

IDS_PER_QUERY = 500  # below every database's limit on bound values


def chunks(items: Sequence[T], size: int = IDS_PER_QUERY) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def families_in(tx: Connection, table: Table) -> Iterator[str]:
    """From one to the next by the primary key: a DISTINCT would read every event there is."""
    last = ""
    while (family := tx.execute(select(func.min(table.c.family)).where(table.c.family > last)).scalar()) is not None:
        yield family
        last = family


def hashes(tx: Connection, table: Table, names: Iterable[Name]) -> dict[Name, str]:
    """Content hashes of those rows that exist."""
    by_family: dict[str, list[str]] = {}
    for family, id in names:
        by_family.setdefault(family, []).append(id)
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
        raise Busy(
            "Another process wrote rows with the same ids at the same moment; nothing was written. Send again.",
            retry_after_s=1,
        )
    return outcomes
