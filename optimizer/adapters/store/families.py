"""Tables family_names and sealed_inputs: families that are renamed or retired, and what stays sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.family_names import is_known, key_of, look
from optimizer.adapters.store.rows import chunks
from optimizer.adapters.store.tables.examples import EXAMPLES, HOLDOUT_LOOKS as LOOKS
from optimizer.adapters.store.tables.operators import ALERTS, API_KEYS
from optimizer.adapters.store.tables.variants import FAMILY_NAMES as NAMES, SEALED_INPUTS as SEALED
from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import grouped
from optimizer.core.dataset.examples import input_hash
from optimizer.core.serving.family_names import RETIRED, is_retired, next_free

_ALL = select(NAMES).order_by(NAMES.c.name)  # built once: every look at what is served asks for it
EVER = datetime(1970, 1, 1, tzinfo=UTC)  # since when a name is its first family's


class FamilyNameTables:
    """ports.FamilyNames on the database."""

    def former(self, tx: Connection) -> dict[str, str]:
        rows = tx.execute(_ALL).all()
        present = {row.key: row.name for row in rows if row.current}
        return {row.name: present[row.key] for row in rows if not row.current}

    def names_of(self, tx: Connection, name: str) -> set[str]:
        key = key_of(name)
        names = {name, key, *tx.execute(select(NAMES.c.name).where(NAMES.c.key == key)).scalars()}
        return names | {stored_name.partition(RETIRED)[0] for stored_name in names}

    def retired(self, tx: Connection, name: str) -> str | None:
        present = self.former(tx).get(name, name)
        if is_retired(present):
            query = select(NAMES.c.name).where(NAMES.c.name == present, NAMES.c.current)
        else:
            begins = NAMES.c.name.startswith(f"{name}{RETIRED}", autoescape=True)
            query = select(NAMES.c.name).where(begins, NAMES.c.current)
        return max(tx.execute(query).scalars(), key=lambda retired: int(retired.rpartition(RETIRED)[2]), default=None)

    def rename(self, tx: Connection, old: str, new: str, at: datetime) -> None:
        key, names = key_of(old), self._names_of_key(tx, old)
        if new not in names:
            # What is sealed for either name is sealed for ``new``, and the looks at it count for ``old``'s own rows.
            # Raises Conflict where ``old`` has opened what is sealed for ``new``.
            n_open = self._carry_looks(tx, old, new)
            if n_open:
                raise Conflict(
                    f"{count(n_open, 'example')} of {old} would be open under the name {new}, for which"
                    f" {'it is' if n_open == 1 else 'they are'} sealed: in the holdout of a retired family. Choose"
                    " another name."
                )
            columns = SEALED.c.input_hash, SEALED.c.family, SEALED.c.example
            rows = tx.execute(select(*columns).where(SEALED.c.name == old).distinct()).mappings()
            insert_new(tx, SEALED, [{"name": new, **row} for row in rows])
        self._call(tx, key, old, new, at)
        # A subject is a text and no key, and what closes an alert about the family itself asks for its present name.
        about = ALERTS.c.family == new, ALERTS.c.subject == old, ALERTS.c.closed_at.is_(None)
        tx.execute(update(ALERTS).where(*about).values(subject=new))
        for id, families in tx.execute(select(API_KEYS.c.name, API_KEYS.c.families)).all():
            if families is not None and old in families and new not in families:
                tx.execute(update(API_KEYS).where(API_KEYS.c.name == id).values(families=sorted([*families, new])))

    def next_retired(self, tx: Connection, name: str) -> str:
        return next_free(name, tx.execute(select(NAMES.c.name)).scalars())

    def retire(self, tx: Connection, name: str, at: datetime) -> str:
        retired = self.next_retired(tx, name)
        query = select(EXAMPLES.c.id, EXAMPLES.c.input).where(EXAMPLES.c.family == name, EXAMPLES.c.split == "holdout")
        sealed = [(input_hash(row.input), row.id) for row in tx.execute(query)]
        for other in sorted(other for other in self._names_of_key(tx, name) if not is_retired(other)):
            rows = [{"name": other, "input_hash": hash, "family": name, "example": id} for hash, id in sealed]
            insert_new(tx, SEALED, rows)
        self._call(tx, key_of(name), name, retired, at)
        return retired

    def restore(self, tx: Connection, retired: str, name: str, at: datetime) -> None:
        tx.execute(delete(NAMES).where(NAMES.c.name == retired))
        self._call(tx, key_of(retired), name, name, at)
        own = SEALED.c.name.in_(self._names_of_key(tx, name))
        tx.execute(delete(SEALED).where(SEALED.c.family == name, own))  # its own rows are in the holdout again
        self._carry_looks(tx, name, name)

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

    def since(self, tx: Connection, name: str) -> datetime | None:
        return None if not is_known(name) else tx.execute(select(NAMES.c.since).where(NAMES.c.name == name)).scalar()

    def _names_of_key(self, tx: Connection, name: str) -> set[str]:
        return {name, *tx.execute(select(NAMES.c.name).where(NAMES.c.key == key_of(name))).scalars()}

    def _call(self, tx: Connection, key: str, old: str, new: str, at: datetime) -> None:
        """The key's present name is ``new``, and ``old`` a former one, each since the key has had it."""
        tx.execute(update(NAMES).where(NAMES.c.key == key).values(current=False))
        insert_new(tx, NAMES, [{"name": old, "key": key, "current": False, "since": EVER}])
        since = tx.execute(select(NAMES.c.since).where(NAMES.c.name == new, NAMES.c.key == key)).scalar() or at
        upsert(tx, NAMES, [{"name": new, "key": key, "current": True, "since": since}])
        look(tx)

    def _carry_looks(self, tx: Connection, family: str, name: str) -> int:
        """Adds the looks at what is sealed for ``name`` to the family's holdout; returns how many other examples are so
        sealed.
        """
        if not self.n_sealed(tx, name):
            return 0
        query = select(EXAMPLES.c.id, EXAMPLES.c.input, EXAMPLES.c.split).where(EXAMPLES.c.family == family)
        own = {row.id: row for row in tx.execute(query)}
        before = sealed_before(tx, name, {id: row.input for id, row in own.items()})
        for id, ones in before.items():
            carry_looks(tx, family, id, ones)
        return sum(own[id].split != "holdout" for id in before)


def sealed_before(
    tx: Connection, family: str, inputs: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[tuple[str, str]]]:
    """Those of ``inputs``, by id, in the holdout of a retired family of this name: which family, which example.

    An input is compared by its texts, whatever its fields were called.
    """
    if tx.execute(select(SEALED.c.name).where(SEALED.c.name == family).limit(1)).first() is None:
        return {}
    ids = grouped((input_hash(input), id) for id, input in inputs.items())
    sealed: dict[str, list[tuple[str, str]]] = {}
    for some in chunks(sorted(ids)):
        for row in tx.execute(select(SEALED).where(SEALED.c.name == family, SEALED.c.input_hash.in_(some))):
            for id in ids[row.input_hash]:
                sealed.setdefault(id, []).append((row.family, row.example))
    return sealed


def carry_looks(tx: Connection, family: str, id: str, before: Sequence[tuple[str, str]]) -> None:
    """Copies to an example the looks at the sealed examples whose input it has."""
    for other, example in before:
        query = select(LOOKS.c.study, LOOKS.c.looked_at).where(LOOKS.c.family == other, LOOKS.c.example == example)
        insert_new(tx, LOOKS, [{"family": family, "example": id, **row} for row in tx.execute(query).mappings()])
