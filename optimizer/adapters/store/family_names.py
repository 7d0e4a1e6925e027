"""Table family_names: the key of a family's rows in every table, where that is not the family's name.

A family that was renamed keeps its key, so no row is rewritten, and the old name still finds it. A family that was
retired has a name that no file can have, such as ``triage~1``, and a new family of the old name gets a key of its own.
A column of type ``FamilyKey`` takes and gives names; the database holds the key. Each transaction begins by reading the
names, which are few or none, so all of one transaction sees the same ones.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, exc
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """``keys``: every name whose key is not itself, or that another family has taken. ``shown``: key ->
    present name.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)


class _OfThread(threading.local):
    names = Names()


_HERE = _OfThread()
_LOOK = "SELECT name, key, current FROM family_names"


def look(tx: Connection) -> None:
    """Reads the names at the beginning of a transaction, by the driver itself: it is the shortest way."""
    driver: Any = tx.connection.driver_connection
    try:
        rows = driver.execute(_LOOK).fetchall()
    except sqlite3.Error as error:
        if "no such table" not in str(error):  # an older release's store, in which no family was renamed
            kind = exc.OperationalError if isinstance(error, sqlite3.OperationalError) else exc.DatabaseError
            raise kind(_LOOK, None, error) from error
        rows = []
    if rows or _HERE.names.keys:
        keys = {name: key for name, key, _ in rows}
        _HERE.names = Names(keys=keys, shown={key: name for name, key, current in rows if current})


def key_of(name: str) -> str:
    """The key of a family's name; a text that names no family stays."""
    return _HERE.names.keys.get(name, name)


def is_known(name: str) -> bool:
    """False for a name that was always its family's, and nobody else's."""
    return name in _HERE.names.keys


class FamilyKey(TypeDecorator[str]):
    """A family's name outside, its key inside."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else key_of(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else _HERE.names.shown.get(value, value)
