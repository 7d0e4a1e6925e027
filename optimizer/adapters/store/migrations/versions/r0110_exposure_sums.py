"""Fetches summed up by arm: a page of a rollout, and each cohort that closed, added up every ten seconds it had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0110"
down_revision = "0109"

KEY = ("rollout", "family", "variant", "stage", "sent_by")


def upgrade() -> None:
    sums = op.create_table(
        "exposure_sums",
        *(sa.Column(name, sa.String(), primary_key=True) for name in KEY),
        sa.Column("n_exposed", sa.Integer(), nullable=False),
    )
    keys: list[sa.ColumnElement[str]] = [sa.func.coalesce(sa.column(name), "") for name in KEY]
    windows = sa.select(*keys, sa.func.sum(sa.column("n_exposed"))).select_from(sa.table("exposure_counts"))
    op.execute(sa.insert(sums).from_select([*KEY, "n_exposed"], windows.group_by(*keys)))
    op.drop_index("ix_exposure_counts_rollout", "exposure_counts")  # nothing asks by it any more
