"""Traffic summed up by minute, hour and day: triggers, forecasts and settings read every event of a week or a month.

It begins empty: until the worker has summed up a stretch, its events themselves are read, which gives the same answer.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0109"
down_revision = "0108"


def upgrade() -> None:
    op.create_table(
        "traffic_sums",
        sa.Column("family", sa.String(), primary_key=True),
        sa.Column("minutes", sa.Integer(), primary_key=True),
        sa.Column("start", Utc(), primary_key=True),
        sa.Column("variant", sa.String(), primary_key=True),
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("n_with_unit", sa.Integer(), nullable=False),
        sa.Column("n_success", sa.Integer(), nullable=False),
        sa.Column("success_sum", sa.Integer(), nullable=False),
        sa.Column("n_score", sa.Integer(), nullable=False),
        sa.Column("score_sum", sa.Float(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("units", sa.JSON(), nullable=False),
    )
