"""Table exposure_counts: how many fetches each arm had per window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.tables import ExposureCountRow
from optimizer.ports import Exposure

EXPOSURES = ExposureCountRow.__table__


class ExposureTable:
    """ports.Exposures on the database."""

    def add(self, tx: Connection, rows: Iterable[Exposure]) -> None:
        sums: dict[tuple[Any, ...], int] = {}
        for family, variant, rollout, stage, window_start, client, n in rows:
            key = (family, variant, rollout or "", _stage(stage), window_start, client)
            sums[key] = sums.get(key, 0) + n
        upsert(tx, EXPOSURES, [_columns(key, n) for key, n in sums.items()], add=("n_exposed",))

    def put(self, tx: Connection, rows: Iterable[Exposure], sent_by: str) -> list[bool]:
        return [self._put(tx, row, sent_by) for row in rows]

    def reported(self, tx: Connection, rollout: str) -> dict[tuple[str, str, float | None], int]:
        e = EXPOSURES.c
        query = select(e.sent_by, e.variant, e.stage, func.sum(e.n_exposed).label("n")).where(
            e.rollout == rollout, e.sent_by.is_not(None)
        )
        rows = tx.execute(query.group_by(e.sent_by, e.variant, e.stage))
        return {(r.sent_by, r.variant, float(r.stage) if r.stage else None): int(r.n) for r in rows}

    def totals(self, tx: Connection, family: str, rollout: str | None) -> list[dict[str, Any]]:
        e = EXPOSURES.c
        query = select(e.family, e.variant, e.rollout, e.stage, func.sum(e.n_exposed).label("n_exposed"))
        # A rollout is of one family: naming the family, too, would make SQLite read all of its windows.
        query = query.where(e.family == family) if rollout is None else query.where(e.rollout == rollout)
        rows = tx.execute(
            query.group_by(e.family, e.variant, e.rollout, e.stage).order_by(e.rollout, e.stage, e.variant)
        )
        return [
            {
                "variant": r.variant,
                "rollout": r.rollout or None,
                "stage": float(r.stage) if r.stage else None,
                "n_exposed": int(r.n_exposed),
            }
            for r in rows
            if r.family == family
        ]

    def _put(self, tx: Connection, row: Exposure, sent_by: str) -> bool:
        family, variant, rollout, stage, window_start, client, n = row
        own = f"{sent_by}: {client}"  # two keys may name their clients alike
        columns = {
            **_columns((family, variant, rollout or "", _stage(stage), window_start, own), n),
            "sent_by": sent_by,
        }
        if insert_new(tx, EXPOSURES, [columns]):
            return True
        same = and_(*(column == columns[column.name] for column in EXPOSURES.primary_key.columns))
        return tx.execute(update(EXPOSURES).where(same, EXPOSURES.c.n_exposed < n).values(n_exposed=n)).rowcount > 0


def _columns(key: tuple[Any, ...], n: int) -> dict[str, Any]:
    return {
        **dict(zip(("family", "variant", "rollout", "stage", "window_start", "client"), key, strict=True)),
        "n_exposed": n,
    }


def _stage(share: float | None) -> str:
    return "" if share is None else repr(float(share))
