"""Tables examples and holdout_looks. The holdout has one door, ``sealed_holdout``, and every passage through it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, update

from optimizer.adapters.database.engine import insert_new, table
from optimizer.adapters.database.hashed_rows import add_once, chunks
from optimizer.adapters.database.tables import ExampleRow, HoldoutLookRow
from optimizer.core.canonical import canonical_json, digest
from optimizer.core.dataset import Example, Split
from optimizer.core.errors import NotFound
from optimizer.ports import Added, ExampleStanding

EXAMPLES = table(ExampleRow)
LOOKS = table(HoldoutLookRow)


class ExampleTables:
    """ports.Examples on the database."""

    def add(self, tx: Connection, rows: Sequence[Example]) -> list[Added]:
        return add_once(tx, EXAMPLES, [_columns(row) for row in rows])

    def of_split(self, tx: Connection, family: str, *, split: str, released_only: bool = False) -> list[Example]:
        if split not in ("train", "dev"):
            raise ValueError(f"{split!r} cannot be read here: only train and dev; the holdout is for a study's confirmation alone")
        query = select(EXAMPLES).where(EXAMPLES.c.family == family, EXAMPLES.c.split == split).order_by(EXAMPLES.c.id)
        if released_only:
            query = query.where(EXAMPLES.c.released.is_(True))
        return [_example(row) for row in tx.execute(query).mappings()]

    def sealed_holdout(self, tx: Connection, family: str, study: str, ids: Sequence[str] | None, at: datetime) -> list[Example]:
        found = [_example(row) for query in _holdout_queries(family, ids) for row in tx.execute(query).mappings()]
        looks = [{"family": family, "example": example.id, "study": study, "looked_at": at} for example in found]
        insert_new(tx, LOOKS, looks)
        if ids is None:
            return found
        by_id = {example.id: example for example in found}
        return [by_id[id] for id in ids if id in by_id]

    def holdout_ids(self, tx: Connection, family: str) -> list[tuple[str, str]]:
        query = select(EXAMPLES.c.id, EXAMPLES.c.expected).where(EXAMPLES.c.family == family, EXAMPLES.c.split == "holdout")
        return [(row.id, digest(canonical_json(row.expected))) for row in tx.execute(query.order_by(EXAMPLES.c.id))]

    def standing(self, tx: Connection, family: str, *, ids: Sequence[str], groups: Sequence[str]) -> list[ExampleStanding]:
        c = EXAMPLES.c
        found: dict[str, ExampleStanding] = {}
        for column, values in ((c.id, ids), (c.group, groups)):
            for some in chunks(list(values)):
                query = select(c.id, c.group, c.split, c.released).where(c.family == family, column.in_(some))
                found.update((row["id"], ExampleStanding(**row)) for row in tx.execute(query).mappings())
        return sorted(found.values(), key=lambda one: one.id)

    def counts(self, tx: Connection, family: str) -> dict[Split, int]:
        counts: dict[Split, int] = {"train": 0, "dev": 0, "holdout": 0}
        query = select(EXAMPLES.c.split, func.count()).where(EXAMPLES.c.family == family).group_by(EXAMPLES.c.split)
        for split, n in tx.execute(query):
            counts[split] = n
        return counts

    def looks(self, tx: Connection, family: str, ids: Sequence[str]) -> int:
        most = 0
        for some in chunks(list(ids)):
            per_example = (
                select(func.count().label("n")).where(LOOKS.c.family == family, LOOKS.c.example.in_(some)).group_by(LOOKS.c.example)
            )
            most = max(most, tx.execute(select(func.max(per_example.subquery().c.n))).scalar() or 0)
        return most

    def looked_at(self, tx: Connection, family: str, study: str | None = None) -> set[str]:
        query = select(LOOKS.c.example).where(LOOKS.c.family == family).distinct()
        return set(tx.execute(query if study is None else query.where(LOOKS.c.study == study)).scalars())

    def release(self, tx: Connection, family: str, id: str, by: str) -> None:
        change = update(EXAMPLES).where(EXAMPLES.c.family == family, EXAMPLES.c.id == id).values(released=True, released_by=by)
        if tx.execute(change).rowcount == 0:
            raise NotFound(f"Family {family!r} has no example {id!r} to release; it may have been forgotten in between.")


def _holdout_queries(family: str, ids: Sequence[str] | None) -> list[Any]:
    query = select(EXAMPLES).where(EXAMPLES.c.family == family, EXAMPLES.c.split == "holdout").order_by(EXAMPLES.c.id)
    return [query] if ids is None else [query.where(EXAMPLES.c.id.in_(some)) for some in chunks(list(ids))]


def _columns(example: Example) -> dict[str, Any]:
    content = {"input": dict(example.input), "expected": dict(example.expected), "group": example.group}
    return {
        **{name: getattr(example, name) for name in Example.__dataclass_fields__},
        "input": content["input"],
        "expected": content["expected"],
        "content_hash": digest(canonical_json(content)),
    }


def _example(row: RowMapping) -> Example:
    return Example(**{name: row[name] for name in Example.__dataclass_fields__})
