"""Tables champions, overrides, freezes and serving_version: what is served to whom, and how often that has changed."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import columns_of, first, record_of
from optimizer.adapters.store.tables import ChampionRow, FreezeRow, OverrideRow, ServingVersionRow
from optimizer.core.serving.assignment import Override
from optimizer.core.serving.rollout import Champion, Freeze

CHAMPIONS = ChampionRow.__table__
OVERRIDES = OverrideRow.__table__
FREEZES = FreezeRow.__table__
VERSION = ServingVersionRow.__table__
_CURRENT_CHAMPIONS = select(CHAMPIONS).where(CHAMPIONS.c.current.is_(True)).order_by(CHAMPIONS.c.family)
_CURRENT = _CURRENT_CHAMPIONS.where(CHAMPIONS.c.family == bindparam("of_family"))
_FREEZES = select(FREEZES).order_by(FREEZES.c.scope)
ROW = 1  # of serving_version, which has no other
# Built once: every look at what is served asks for it, and building one takes longer than running it.
_READ = select(VERSION.c.version, VERSION.c.ticked_at).where(VERSION.c.id == ROW)
_TICKED = update(VERSION).where(VERSION.c.id == ROW).values(ticked_at=bindparam("at"))
_BUMP = update(VERSION).where(VERSION.c.id == ROW).values(version=VERSION.c.version + 1)


class ChampionTable:
    """ports.Champions on the database."""

    def current(self, tx: Connection, family: str) -> Champion | None:
        return first(tx, _CURRENT, _champion, {"of_family": family})

    def all_current(self, tx: Connection) -> list[Champion]:
        return [_champion(row) for row in tx.execute(_CURRENT_CHAMPIONS).mappings()]

    def history(self, tx: Connection, family: str) -> list[Champion]:
        query = select(CHAMPIONS).where(CHAMPIONS.c.family == family).order_by(CHAMPIONS.c.seq)
        return [_champion(row) for row in tx.execute(query).mappings()]

    def put(self, tx: Connection, champion: Champion) -> None:
        self.end(tx, champion.family, champion.since)
        tx.execute(insert(CHAMPIONS), [columns_of(champion, current=True)])

    def end(self, tx: Connection, family: str, at: datetime) -> None:
        current = update(CHAMPIONS).where(CHAMPIONS.c.family == family, CHAMPIONS.c.current.is_(True))
        tx.execute(current.values(current=None, until=at))

    def resume(self, tx: Connection, family: str) -> Champion | None:
        last = select(func.max(CHAMPIONS.c.seq)).where(CHAMPIONS.c.family == family).scalar_subquery()
        named = update(CHAMPIONS).where(CHAMPIONS.c.family == family, CHAMPIONS.c.seq == last)
        tx.execute(named.values(current=True, until=None))
        return self.current(tx, family)


_champion = partial(record_of, Champion)


class OverrideTable:
    """ports.Overrides on the database."""

    def put(self, tx: Connection, family: str, unit_hmac: str, override: Override, by: str, at: datetime) -> None:
        who = {"family": family, "unit_hmac": unit_hmac}
        upsert(tx, OVERRIDES, [{**who, **override._asdict(), "created_by": by, "created_at": at}])

    def active(self, tx: Connection, now: datetime) -> list[tuple[str, str, Override]]:
        o = OVERRIDES.c
        query = select(o.family, o.unit_hmac, o.variant, o.until, o.unit_hash).where(o.until > now)
        rows = tx.execute(query.order_by(o.family, o.unit_hmac))
        return [(row.family, row.unit_hmac, Override(row.variant, row.until, row.unit_hash)) for row in rows]


class FreezeTable:
    """ports.Freezes on the database."""

    def put(self, tx: Connection, scope: str, reason: str, by: str, at: datetime) -> None:
        upsert(tx, FREEZES, [{"scope": scope, "reason": reason, "by": by, "since": at}])

    def remove(self, tx: Connection, scope: str) -> bool:
        return tx.execute(delete(FREEZES).where(FREEZES.c.scope == scope)).rowcount > 0

    def all(self, tx: Connection) -> list[Freeze]:
        return [record_of(Freeze, row) for row in tx.execute(_FREEZES).mappings()]


class ServingVersionTable:
    """ports.ServingVersion on the database."""

    def bump(self, tx: Connection) -> None:
        if not tx.execute(_BUMP).rowcount:
            tx.execute(insert(VERSION), [{"id": ROW, "version": 1}])

    def read(self, tx: Connection) -> tuple[int, datetime | None]:
        row = tx.execute(_READ).first()
        return (0, None) if row is None else (row.version, row.ticked_at)

    def ticked(self, tx: Connection, at: datetime) -> None:
        if not tx.execute(_TICKED, {"at": at}).rowcount:
            tx.execute(insert(VERSION), [{"id": ROW, "version": 0, "ticked_at": at}])
