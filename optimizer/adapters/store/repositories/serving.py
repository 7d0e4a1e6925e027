"""Tables champions, overrides, freezes and serving_version: what is served to whom, and how often that has changed;
exposure_counts and exposure_sums: how many fetches each arm had per window, and in all of them; example_renderings: how
often a variant showed nearest examples; truncated_inputs: in how many requests an input was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.rows import columns_of, first, record_of, where_equal
from optimizer.adapters.store.tables.events import (
    EXAMPLE_RENDERINGS as RENDERINGS,
    EXPOSURE_COUNTS as EXPOSURES,
    EXPOSURE_SUMS as SUMS,
    TRUNCATED_INPUTS as TRUNCATED,
)
from optimizer.adapters.store.tables.rollouts import CHAMPIONS, FREEZES, OVERRIDES, SERVING_VERSION as VERSION
from optimizer.core.serving.assignment import Override
from optimizer.core.serving.rollout import Champion, Freeze
from optimizer.core.views.rollout_status import ArmExposures
from optimizer.core.views.variant import Renderings
from optimizer.ports import Exposure, TruncatedInput

_CURRENT_CHAMPIONS = select(CHAMPIONS).where(CHAMPIONS.c.current.is_(True)).order_by(CHAMPIONS.c.family)
_CURRENT = _CURRENT_CHAMPIONS.where(CHAMPIONS.c.family == bindparam("of_family"))
_FREEZES = select(FREEZES).order_by(FREEZES.c.scope)
ROW = 1  # of serving_version, which has no other
# Built once: every look at what is served asks for it, and building one takes longer than running it.
_READ = select(VERSION.c.version, VERSION.c.ticked_at).where(VERSION.c.id == ROW)
_TICKED = update(VERSION).where(VERSION.c.id == ROW).values(ticked_at=bindparam("at"))
_ACTIVE = (
    select(*(OVERRIDES.c[name] for name in ("family", "unit_hmac", "variant", "until", "unit_hash")))
    .where(OVERRIDES.c.until > bindparam("now"))
    .order_by(OVERRIDES.c.family, OVERRIDES.c.unit_hmac)
)
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
        rows = tx.execute(_ACTIVE, {"now": now})
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

    def mark(self, tx: Connection) -> object:
        # SQLite's number says something of the connection alone that is asked
        driver: Any = tx.connection.driver_connection
        connection = tx.connection.info.setdefault("mark", object())
        return connection, driver.execute("PRAGMA data_version").fetchone()[0]

    def ticked(self, tx: Connection, at: datetime) -> None:
        if not tx.execute(_TICKED, {"at": at}).rowcount:
            tx.execute(insert(VERSION), [{"id": ROW, "version": 0, "ticked_at": at}])


_S = SUMS.c


class ExposureTable:
    """ports.Exposures on the database."""

    def add(self, tx: Connection, rows: Iterable[Exposure]) -> None:
        counts: dict[tuple[Any, ...], int] = {}
        sums: dict[tuple[Any, ...], int] = {}
        for family, variant, rollout, stage, window_start, client, n in rows:
            arm = (family, variant, rollout or "", _stage(stage))
            counts[arm, window_start, client] = counts.get((arm, window_start, client), 0) + n
            sums[arm] = sums.get(arm, 0) + n
        windows = [_columns(arm, n, window_start=at, client=client) for (arm, at, client), n in counts.items()]
        upsert(tx, EXPOSURES, windows, add=("n_exposed",))
        # in one order, since two processes that take the same arms in opposite orders would wait for each other
        upsert(tx, SUMS, [_columns(arm, n, sent_by="") for arm, n in sorted(sums.items())], add=("n_exposed",))

    def put(self, tx: Connection, rows: Iterable[Exposure], sent_by: str) -> list[bool]:
        return [self._put(tx, row, sent_by) for row in rows]

    def reported(self, tx: Connection, rollout: str) -> dict[tuple[str, str, float | None], int]:
        query = select(_S.sent_by, _S.variant, _S.stage, func.sum(_S.n_exposed).label("n")).where(
            _S.rollout == rollout, _S.sent_by != ""
        )
        rows = tx.execute(query.group_by(_S.sent_by, _S.variant, _S.stage))
        return {(r.sent_by, r.variant, float(r.stage) if r.stage else None): int(r.n) for r in rows}

    def decided_in_process(self, tx: Connection, family: str, variant: str) -> int:
        n = select(func.sum(_S.n_exposed)).where(_S.family == family, _S.variant == variant, _S.sent_by != "")
        return int(tx.execute(n).scalar() or 0)

    def totals(self, tx: Connection, family: str, rollout: str | None) -> list[ArmExposures]:
        query = select(_S.variant, _S.rollout, _S.stage, func.sum(_S.n_exposed).label("n_exposed")).where(
            _S.family == family
        )
        query = where_equal(query, (_S.rollout, rollout))
        rows = tx.execute(query.group_by(_S.variant, _S.rollout, _S.stage).order_by(_S.rollout, _S.stage, _S.variant))
        return [
            ArmExposures(
                variant=r.variant,
                rollout=r.rollout or None,
                stage=float(r.stage) if r.stage else None,
                n_exposed=int(r.n_exposed),
            )
            for r in rows
        ]

    def add_nearest(self, tx: Connection, counts: Mapping[tuple[str, str], int]) -> None:
        rows = [
            {"family": family, "variant": variant, "n_nearest": n}
            for (family, variant), n in sorted(counts.items())  # in one order, as above
        ]
        upsert(tx, RENDERINGS, rows, add=("n_nearest",))

    def renderings(self, tx: Connection, family: str, variant: str) -> Renderings:
        r = RENDERINGS.c
        of_nearest = select(r.n_nearest).where(r.family == family, r.variant == variant)
        of_all = select(func.sum(_S.n_exposed)).where(_S.family == family, _S.variant == variant)
        n_nearest = int(tx.execute(of_nearest).scalar() or 0)
        return Renderings(n_nearest=n_nearest, n_fixed=max(0, int(tx.execute(of_all).scalar() or 0) - n_nearest))

    def counts(self, tx: Connection) -> dict[tuple[str, bool], int]:
        in_rollout = (_S.rollout != "").label("in_rollout")
        query = select(_S.family, in_rollout, func.sum(_S.n_exposed)).group_by(_S.family, in_rollout)
        return {(family, bool(is_in)): int(n) for family, is_in, n in tx.execute(query)}

    def add_truncated(self, tx: Connection, counts: Mapping[tuple[str, str], int], at: datetime) -> None:
        rows = [
            {"family": family, "input": input, "n_requests": n, "last_at": at}
            for (family, input), n in sorted(counts.items())  # in one order, as above
        ]
        upsert(tx, TRUNCATED, rows, add=("n_requests",))

    def truncated(self, tx: Connection) -> list[TruncatedInput]:
        t = TRUNCATED.c
        rows = tx.execute(select(t.family, t.input, t.n_requests, t.last_at).order_by(t.family, t.input))
        return [TruncatedInput(*row) for row in rows]

    def _put(self, tx: Connection, row: Exposure, sent_by: str) -> bool:
        family, variant, rollout, stage, window_start, client, n = row
        arm = (family, variant, rollout or "", _stage(stage))
        own = f"{sent_by}: {client}"  # two keys may name their clients alike
        columns = _columns(arm, n, window_start=window_start, client=own, sent_by=sent_by)
        known = 0
        if not insert_new(tx, EXPOSURES, [columns]):
            same = and_(*(column == columns[column.name] for column in EXPOSURES.primary_key.columns))
            known = tx.execute(select(EXPOSURES.c.n_exposed).where(same).with_for_update()).scalar_one()
            if known >= n:
                return False
            tx.execute(update(EXPOSURES).where(same).values(n_exposed=n))
        upsert(tx, SUMS, [_columns(arm, n - known, sent_by=sent_by)], add=("n_exposed",))
        return True


def _columns(arm: tuple[Any, ...], n: int, **more: Any) -> dict[str, Any]:
    return {**dict(zip(("family", "variant", "rollout", "stage"), arm, strict=True)), "n_exposed": n, **more}


def _stage(share: float | None) -> str:
    return "" if share is None else repr(float(share))
