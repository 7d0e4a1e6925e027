"""Tables family_names and sealed_inputs: families that are renamed or retired, and what stays sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.family_names import key_of, look
from optimizer.adapters.store.hashed_rows import chunks
from optimizer.adapters.store.tables import (
    ApiKeyRow,
    ExampleRow,
    FamilyNameRow,
    HoldoutLookRow,
    SealedInputRow,
)
from optimizer.core.dataset.examples import input_hash
from optimizer.core.serving.family_names import RETIRED, is_retired, next_free

NAMES = FamilyNameRow.__table__
SEALED = SealedInputRow.__table__
EXAMPLES = ExampleRow.__table__
LOOKS = HoldoutLookRow.__table__
API_KEYS = ApiKeyRow.__table__


class FamilyNameTables:
    """ports.FamilyNames on the database."""

    def former(self, tx: Connection) -> dict[str, str]:
        present = {row.key: row.name for row in tx.execute(select(NAMES)) if row.current}
        query = select(NAMES).where(NAMES.c.current.is_(False)).order_by(NAMES.c.name)
        return {row.name: present[row.key] for row in tx.execute(query)}

    def names_of(self, tx: Connection, name: str) -> set[str]:
        key = key_of(name)
        names = {name, key, *tx.execute(select(NAMES.c.name).where(NAMES.c.key == key)).scalars()}
        return names | {one.partition(RETIRED)[0] for one in names}

    def retired(self, tx: Connection, name: str) -> str | None:
        present = self.former(tx).get(name, name)
        if is_retired(present):
            query = select(NAMES.c.name).where(NAMES.c.name == present, NAMES.c.current)
        else:
            begins = NAMES.c.name.startswith(f"{name}{RETIRED}", autoescape=True)
            query = select(NAMES.c.name).where(begins, NAMES.c.current)
        return max(tx.execute(query).scalars(), key=_number, default=None)

    def rename(self, tx: Connection, old: str, new: str, at: datetime) -> None:
        key = key_of(old)
        tx.execute(update(NAMES).where(NAMES.c.key == key).values(current=False))
        rows = [{"name": old, "current": False}, {"name": new, "current": True}]
        upsert(tx, NAMES, [{**row, "key": key, "since": at} for row in rows])
        for id, families in tx.execute(select(API_KEYS.c.name, API_KEYS.c.families)).all():
            if families is not None and old in families and new not in families:
                named = update(API_KEYS).where(API_KEYS.c.name == id)
                tx.execute(named.values(families=sorted([*families, new])))
        look(tx)

    def next_retired(self, tx: Connection, name: str) -> str:
        return next_free(name, tx.execute(select(NAMES.c.name)).scalars())

    def retire(self, tx: Connection, name: str, at: datetime) -> str:
        retired, key = self.next_retired(tx, name), key_of(name)
        names = {name, *tx.execute(select(NAMES.c.name).where(NAMES.c.key == key)).scalars()}
        self._seal(tx, name, sorted(one for one in names if not is_retired(one)))
        tx.execute(update(NAMES).where(NAMES.c.key == key).values(current=False))
        rows = [{"name": name, "current": False}, {"name": retired, "current": True}]
        upsert(tx, NAMES, [{**row, "key": key, "since": at} for row in rows])
        look(tx)
        return retired

    def restore(self, tx: Connection, retired: str, name: str, at: datetime) -> None:
        key = key_of(retired)
        tx.execute(delete(NAMES).where(NAMES.c.name == retired))
        upsert(tx, NAMES, [{"name": name, "key": key, "current": True, "since": at}])
        tx.execute(delete(SEALED).where(SEALED.c.family == name))  # its own rows are in the holdout again
        look(tx)

    def claim(self, tx: Connection, name: str, at: datetime) -> str | None:
        row = tx.execute(select(NAMES).where(NAMES.c.name == name)).first()
        if row is None or row.current:
            return None
        holder: str = tx.execute(select(NAMES.c.name).where(NAMES.c.key == row.key, NAMES.c.current)).scalar_one()
        if not is_retired(holder):
            return holder
        key = next_free(name, tx.execute(select(NAMES.c.key)).scalars())
        rows = [{"name": name, "key": key, "current": True, "since": at}]
        if holder.partition(RETIRED)[0] != name:  # its rollouts may name it
            rows.append({"name": self.next_retired(tx, name), "key": row.key, "current": False, "since": at})
        upsert(tx, NAMES, rows)
        look(tx)
        return None

    def n_sealed(self, tx: Connection, name: str) -> int:
        query = select(func.count(SEALED.c.input_hash.distinct())).where(SEALED.c.name == name)
        return int(tx.execute(query).scalar() or 0)

    def _seal(self, tx: Connection, family: str, names: Sequence[str]) -> None:
        query = select(EXAMPLES.c.id, EXAMPLES.c.input).where(
            EXAMPLES.c.family == family, EXAMPLES.c.split == "holdout"
        )
        sealed = [(input_hash(row.input), row.id) for row in tx.execute(query)]
        for name in names:
            rows = [{"name": name, "input_hash": hash, "family": family, "example": id} for hash, id in sealed]
            insert_new(tx, SEALED, rows)


def sealed_before(
    tx: Connection, family: str, inputs: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[tuple[str, str]]]:
    """Of examples by their id those whose input was in the holdout of a retired family of this name: as which example
    of which family. An input is known by its texts, whatever its fields were called.
    """
    if tx.execute(select(SEALED.c.name).where(SEALED.c.name == family).limit(1)).first() is None:
        return {}
    ids: dict[str, list[str]] = {}
    for id, input in inputs.items():
        ids.setdefault(input_hash(input), []).append(id)
    found: dict[str, list[tuple[str, str]]] = {}
    for some in chunks(sorted(ids)):
        query = select(SEALED).where(SEALED.c.name == family, SEALED.c.input_hash.in_(some))
        for row in tx.execute(query):
            for id in ids[row.input_hash]:
                found.setdefault(id, []).append((row.family, row.example))
    return found


def carry_looks(tx: Connection, family: str, id: str, before: Sequence[tuple[str, str]]) -> None:
    """Counts for an example every look at what it was before."""
    for other, example in before:
        query = select(LOOKS.c.study, LOOKS.c.looked_at).where(LOOKS.c.family == other, LOOKS.c.example == example)
        rows = [{"family": family, "example": id, **row} for row in tx.execute(query).mappings()]
        insert_new(tx, LOOKS, rows)


def _number(retired: str) -> int:
    return int(retired.rpartition(RETIRED)[2])
