"""Table key_usage: what each key has used of its limits in the running window. One row per key and limit, shared by all processes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from optimizer.adapters.database.engine import insert_new, table
from optimizer.adapters.database.tables import KeyUsageRow
from optimizer.ports import Limited

USAGE = table(KeyUsageRow)
SHARE_OF_THE_REST = 8  # a process takes so small a part of what is left that others find some, too


class KeyUsageTable:
    """ports.KeyUsage on the database. The row is locked until the commit, so two processes cannot take the same rest."""

    def take(self, tx: Connection, key: str, limit: Limited, window: datetime, amount: float, most: float) -> bool:
        used = self._used(tx, key, limit, window)
        if round(used + amount, 12) > most:
            return False
        self._set(tx, key, limit, window, used + amount)
        return True

    def take_some(self, tx: Connection, key: str, limit: Limited, window: datetime, most: int) -> int:
        used = self._used(tx, key, limit, window)
        left = int(most - used)
        if left <= 0:
            return 0
        some = max(1, left // SHARE_OF_THE_REST)
        self._set(tx, key, limit, window, used + some)
        return some

    def give_back(self, tx: Connection, key: str, limit: Limited, window: datetime, amount: float) -> None:
        used = self._used(tx, key, limit, window)
        self._set(tx, key, limit, window, max(0.0, used - amount))

    def _used(self, tx: Connection, key: str, limit: Limited, window: datetime) -> float:
        if insert_new(tx, USAGE, [{"key": key, "limit": limit, "window": window, "used": 0.0}]):
            of_key = and_(USAGE.c.key == key, USAGE.c.limit == limit)
            tx.execute(delete(USAGE).where(of_key, USAGE.c.window < window))  # no window of the past is asked for again
        return float(tx.execute(select(USAGE.c.used).where(_row(key, limit, window)).with_for_update()).scalar_one())

    def _set(self, tx: Connection, key: str, limit: Limited, window: datetime, used: float) -> None:
        tx.execute(update(USAGE).where(_row(key, limit, window)).values(used=used))


def _row(key: str, limit: Limited, window: datetime) -> ColumnElement[bool]:
    return and_(USAGE.c.key == key, USAGE.c.limit == limit, USAGE.c.window == window)
