"""Tables api_keys, key_usage and callers: what each key may do, the hashes of secrets, what it has used of its limits,
and who came without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select, update

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.rows import first, record_of
from optimizer.adapters.store.tables.operators import API_KEYS as KEYS, CALLERS, KEY_USAGE as USAGE
from optimizer.core.base.errors import Busy
from optimizer.core.serving.access import ROLES, Access, KeyLimits
from optimizer.ports import CallerKind, CallerRecord, KeyRecord, Limited

_ALL = select(KEYS).order_by(KEYS.c.name)  # built once: every look at what is served asks for it
_C = CALLERS.c
MOST_CALLERS = 200  # of a kind; beyond, those that were seen least are forgotten
SHARE_OF_THE_REST = 8  # a process takes an eighth of what is left, so that others get some, too


KEYS_GONE = (
    "The store has no keys, and it had some: it is older than what was kept, or another file stands in its place. So"
    " nothing is answered: without keys all of this machine would be let in. Put back the store with its log; or, where"
    " it shall have no keys, delete the file beside it that ends in .keyed."
)


class ApiKeyTable:
    """ports.ApiKeys on the database.

    ``mark``: a file that says that the store has keys, so that a store that lost them is noticed.
    """

    def __init__(self, mark: Path) -> None:
        self._mark = mark
        self._has_seen_keys = self._has_marked = False

    def add(
        self,
        tx: Connection,
        name: str,
        access: Access,
        secret_hash: str,
        at: datetime,
        keyless_until: datetime | None = None,
    ) -> None:
        row = {
            "name": name,
            "role": ",".join(access.roles),
            "sources": list(access.sources),
            "families": None if access.families is None else list(access.families),
            "expires_at": access.expires_at,
            "limits": access.limits.as_record(),
            "secret_hash": secret_hash,
            "created_at": at,
            "keyless_until": keyless_until,
        }
        tx.execute(insert(KEYS), [row])

    def revoke(self, tx: Connection, name: str, at: datetime) -> None:
        tx.execute(update(KEYS).where(KEYS.c.name == name, KEYS.c.revoked_at.is_(None)).values(revoked_at=at))

    def close_keyless(self, tx: Connection, at: datetime) -> None:
        tx.execute(update(KEYS).where(KEYS.c.keyless_until > at).values(keyless_until=at))

    def remove(self, tx: Connection, name: str) -> None:
        tx.execute(delete(KEYS).where(KEYS.c.name == name))

    def unmark(self) -> None:
        self._mark.unlink(missing_ok=True)
        self._has_seen_keys = self._has_marked = False

    def replace_secret(
        self, tx: Connection, name: str, secret_hash: str, previous_hash: str | None, previous_until: datetime | None
    ) -> None:
        values = {"secret_hash": secret_hash, "previous_hash": previous_hash, "previous_until": previous_until}
        tx.execute(update(KEYS).where(KEYS.c.name == name).values(**values))

    def get(self, tx: Connection, name: str) -> KeyRecord | None:
        return first(tx, select(KEYS).where(KEYS.c.name == name), _record)

    def all(self, tx: Connection) -> list[KeyRecord]:
        """All keys, revoked ones too. Raises Busy where there were keys and are none, unless the only one
        was removed.
        """
        records = [_record(row) for row in tx.execute(_ALL).mappings()]
        if records and not self._has_marked:
            self._has_seen_keys = True
            with suppress(OSError):  # no room: this process remembers it
                self._mark.touch()
                self._has_marked = True
        elif not records:
            if self._mark.exists() or (self._has_seen_keys and not self._has_marked):
                raise Busy(KEYS_GONE, retry_after_s=60, said=str(self._mark))
            self._has_seen_keys = self._has_marked = False
        return records

    def add_callers(self, tx: Connection, counts: Mapping[tuple[CallerKind, str], int], at: datetime) -> None:
        tx.execute(delete(CALLERS).where(CALLERS.c.last_at < at - timedelta(days=1)))
        rows = [
            {"kind": kind, "name": name, "n_requests": n, "last_at": at} for (kind, name), n in sorted(counts.items())
        ]
        upsert(tx, CALLERS, rows, add=("n_requests",))
        for kind in sorted({kind for kind, _ in counts}):
            of_kind = select(_C.name).where(_C.kind == kind).order_by(_C.n_requests.desc(), _C.last_at.desc(), _C.name)
            least = tx.execute(of_kind.offset(MOST_CALLERS)).scalars().all()
            if least:
                tx.execute(delete(CALLERS).where(_C.kind == kind, _C.name.in_(least)))

    def callers(self, tx: Connection, since: datetime) -> list[CallerRecord]:
        rows = tx.execute(
            select(_C.kind, _C.name, _C.n_requests, _C.last_at)
            .where(_C.last_at >= since)
            .order_by(_C.last_at.desc(), _C.kind, _C.name)
        )
        return [CallerRecord(*row) for row in rows]


def _record(row: RowMapping) -> KeyRecord:
    """A role that this version does not know opens nothing: it is left out, and the key holds the others."""
    roles = row["role"].split(",")
    access = Access(
        roles=tuple(role for role in ROLES if role in roles),
        sources=tuple(row["sources"]),
        families=None if row["families"] is None else tuple(row["families"]),
        expires_at=row["expires_at"],
        limits=KeyLimits(**row["limits"]),
    )
    return record_of(KeyRecord, row, access=access)


class KeyUsageTable:
    """ports.KeyUsage on the database: one row per key and limit, that of the running window, shared by all processes.

    It is locked until the commit, so two processes cannot take the same rest.
    """

    def take(self, tx: Connection, key: str, limit: Limited, window: datetime, amount: float, most: float) -> bool:
        used = self._used(tx, key, limit, window)
        if round(used + amount, 12) > most:
            return False
        self._set(tx, key, limit, window, used + amount)
        return True

    def take_some(self, tx: Connection, key: str, limit: Limited, window: datetime, most: int) -> int:
        used = self._used(tx, key, limit, window)
        rest = int(most - used)
        if rest <= 0:
            return 0
        some = max(1, rest // SHARE_OF_THE_REST)
        self._set(tx, key, limit, window, used + some)
        return some

    def give_back(self, tx: Connection, key: str, limit: Limited, window: datetime, amount: float) -> None:
        self._set(tx, key, limit, window, max(0.0, self._used(tx, key, limit, window) - amount))

    def used(self, tx: Connection, window: datetime) -> dict[str, dict[Limited, float]]:
        used: dict[str, dict[Limited, float]] = {}
        for row in tx.execute(select(USAGE.c.key, USAGE.c.limit, USAGE.c.used).where(USAGE.c.window == window)):
            used.setdefault(row.key, {})[row.limit] = row.used
        return used

    def _used(self, tx: Connection, key: str, limit: Limited, window: datetime) -> float:
        if insert_new(tx, USAGE, [{"key": key, "limit": limit, "window": window, "used": 0.0}]):
            of_key = and_(USAGE.c.key == key, USAGE.c.limit == limit)
            tx.execute(delete(USAGE).where(of_key, USAGE.c.window < window))  # no window of the past is asked for again
        return float(tx.execute(select(USAGE.c.used).where(_row(key, limit, window)).with_for_update()).scalar_one())

    def _set(self, tx: Connection, key: str, limit: Limited, window: datetime, used: float) -> None:
        tx.execute(update(USAGE).where(_row(key, limit, window)).values(used=used))


def _row(key: str, limit: Limited, window: datetime) -> ColumnElement[bool]:
    return and_(USAGE.c.key == key, USAGE.c.limit == limit, USAGE.c.window == window)
