"""Tables exposure_counts and exposure_sums: how many fetches each arm had per window, and in all of them; and
truncated_inputs: in how many requests an input was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from optimizer.adapters.store.engine import insert_new, upsert
from optimizer.adapters.store.rows import narrowed
from optimizer.adapters.store.tables import ExposureCountRow, ExposureSumRow, TruncatedInputRow
from optimizer.ports import Exposure, TruncatedInput

EXPOSURES = ExposureCountRow.__table__
SUMS = ExposureSumRow.__table__
TRUNCATED = TruncatedInputRow.__table__


class ExposureTable:
    """ports.Exposures on the database."""

    def add(self, tx: Connection, rows: Iterable[Exposure]) -> None:
        counts: dict[tuple[Any, ...], int] = {}
        sums: dict[tuple[Any, ...], int] = {}
        for family, variant, rollout, stage, window_start, client, n in rows:
            arm = (family, variant, rollout or "", _stage(stage))
            counts[*arm, window_start, client] = counts.get((*arm, window_start, client), 0) + n
            sums[arm] = sums.get(arm, 0) + n
        upsert(tx, EXPOSURES, [_columns(key, n) for key, n in counts.items()], add=("n_exposed",))
        # in one order: two processes that take the same arms the other way round would wait for each other
        upsert(tx, SUMS, [_sum(arm, "", n) for arm, n in sorted(sums.items())], add=("n_exposed",))

    def put(self, tx: Connection, rows: Iterable[Exposure], sent_by: str) -> list[bool]:
        return [self._put(tx, row, sent_by) for row in rows]

    def reported(self, tx: Connection, rollout: str) -> dict[tuple[str, str, float | None], int]:
        s = SUMS.c
        query = select(s.sent_by, s.variant, s.stage, func.sum(s.n_exposed).label("n")).where(
            s.rollout == rollout, s.sent_by != ""
        )
        rows = tx.execute(query.group_by(s.sent_by, s.variant, s.stage))
        return {(r.sent_by, r.variant, float(r.stage) if r.stage else None): int(r.n) for r in rows}

    def totals(self, tx: Connection, family: str, rollout: str | None) -> list[dict[str, Any]]:
        s = SUMS.c
        query = select(s.variant, s.rollout, s.stage, func.sum(s.n_exposed).label("n_exposed")).where(
            s.family == family
        )
        query = narrowed(query, (s.rollout, rollout))
        rows = tx.execute(query.group_by(s.variant, s.rollout, s.stage).order_by(s.rollout, s.stage, s.variant))
        return [
            {
                "variant": r.variant,
                "rollout": r.rollout or None,
                "stage": float(r.stage) if r.stage else None,
                "n_exposed": int(r.n_exposed),
            }
            for r in rows
        ]

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
        own = f"{sent_by}: {client}"  # two keys may name their clients alike
        columns = {
            **_columns((family, variant, rollout or "", _stage(stage), window_start, own), n),
            "sent_by": sent_by,
        }
        known = 0
        if not insert_new(tx, EXPOSURES, [columns]):
            same = and_(*(column == columns[column.name] for column in EXPOSURES.primary_key.columns))
            known = tx.execute(select(EXPOSURES.c.n_exposed).where(same).with_for_update()).scalar_one()
            if known >= n:
                return False
            tx.execute(update(EXPOSURES).where(same).values(n_exposed=n))
        arm = (family, variant, rollout or "", _stage(stage))
        upsert(tx, SUMS, [_sum(arm, sent_by, n - known)], add=("n_exposed",))
        return True


def _sum(arm: tuple[Any, ...], sent_by: str, n: int) -> dict[str, Any]:
    return {
        **dict(zip(("family", "variant", "rollout", "stage"), arm, strict=True)),
        "sent_by": sent_by,
        "n_exposed": n,
    }


def _columns(key: tuple[Any, ...], n: int) -> dict[str, Any]:
    return {
        **dict(zip(("family", "variant", "rollout", "stage", "window_start", "client"), key, strict=True)),
        "n_exposed": n,
    }


def _stage(share: float | None) -> str:
    return "" if share is None else repr(float(share))
