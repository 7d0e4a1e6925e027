"""Units that a rollout has counted are stored as each look counted them, not one by one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.database.tables import Utc

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FIRST = -(2**31) + 1
PER_ROW = 1000


def upgrade() -> None:
    op.rename_table("rollout_units", "rollout_units_one_by_one")
    op.create_table(
        "rollout_units",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("n_blocks", sa.Integer(), nullable=False),
        sa.Column("counts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", "n_blocks"),
    )
    names = ("rollout", "stage", "unit_hmac", "n_values", "last_minute")
    old = sa.table("rollout_units_one_by_one", *(sa.column(name) for name in names), sa.column("cohort_start", Utc()))
    new = sa.table("rollout_units", sa.column("rollout"), sa.column("n_blocks"), sa.column("counts"))
    rows = op.get_bind().execute(sa.select(old).order_by(old.c.rollout), execution_options={"yield_per": PER_ROW})
    for number, units in enumerate(rows.partitions(), start=FIRST):  # all of them before what looks append
        for rollout, own in groupby(units, key=lambda row: row.rollout):
            op.bulk_insert(new, [{"rollout": rollout, "n_blocks": number, "counts": _as_text(own)}])
    op.drop_table("rollout_units_one_by_one")


def _as_text(units: Iterable[Any]) -> str:
    stages: dict[int, dict[str, Any]] = {}
    for row in units:
        stages.setdefault(row.stage, {})[row.unit_hmac] = [_iso(row.cohort_start), row.n_values, row.last_minute]
    return json.dumps(stages, separators=(",", ":"))


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
