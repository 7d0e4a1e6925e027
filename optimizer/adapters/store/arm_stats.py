"""Table arm_stats: events summed up by rollout and arm, in the transaction that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.family_names import key_of
from optimizer.adapters.store.rows import narrowed
from optimizer.adapters.store.tables import ArmStatRow
from optimizer.core.feedback.stored_rows import KEY, SUMS, EventRow, sums_by_arm

ARMS = ArmStatRow.__table__


_COLUMNS = (*KEY, *SUMS)
_ADD = (
    f"INSERT INTO {ARMS.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' for _ in _COLUMNS)})"
    f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in SUMS)}"
)


def add_events(tx: Connection, interactions: Sequence[EventRow], feedback: Sequence[EventRow]) -> None:
    """In the order of the key: two processes that take the same rows the other way round would wait for each other.

    SQLite gets text and values as its driver takes them, as in new_rows.py: the path of every event.
    """
    sums = sums_by_arm(interactions, feedback)
    rows = sorted((*(part or "" for part in arm), *own) for arm, own in sums.items())
    if tx.dialect.name != "sqlite":
        upsert(tx, ARMS, [dict(zip(_COLUMNS, row, strict=True)) for row in rows], add=SUMS)
        return
    for row in rows:
        tx.exec_driver_sql(_ADD, (key_of(str(row[0])), *row[1:]))


def summary(tx: Connection, family: str, rollout: str | None) -> list[dict[str, Any]]:
    a = ARMS.c
    query = select(a.variant, a.role, *(func.sum(a[name]).label(name) for name in SUMS)).where(a.family == family)
    query = narrowed(query, (a.rollout, rollout))
    return [_arm(row) for row in tx.execute(query.group_by(a.variant, a.role).order_by(a.variant, a.role)).mappings()]


def _arm(row: RowMapping) -> dict[str, Any]:
    return {
        "variant": row["variant"] or None,
        "role": row["role"] or None,
        "n_interactions": row["n_interactions"],
        "n_errors": row["n_errors"],
        "n_labelled": row["n_labelled"],
        "n_success": row["n_success"],
        "n_scored": row["n_scored"],
        "mean_score": row["score_sum"] / row["n_scored"] if row["n_scored"] else None,
        "mean_latency_ms": row["latency_sum_ms"] / row["n_latency"] if row["n_latency"] else None,
        "cost_usd": row["cost_usd"],
    }
