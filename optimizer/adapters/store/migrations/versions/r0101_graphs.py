"""Graphs that were verified, with the repairs proposed for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0101"
down_revision = "0100"


def upgrade() -> None:
    op.create_table(
        "graphs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("interaction", sa.String(), nullable=False),
        sa.Column("unit_hmac", sa.String(), nullable=True),
        sa.Column("given", sa.JSON(), nullable=False),
        sa.Column("repairs", sa.JSON(), nullable=False),
        sa.Column("unreadable", sa.JSON(), nullable=False),
        sa.Column("n_pending", sa.Integer(), nullable=False),
        sa.Column("received_at", Utc(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("family", "interaction", name="uq_graphs_interaction"),
    )
    op.create_index("ix_graphs_family_received", "graphs", ["family", "received_at"])
    op.create_index("ix_graphs_unit", "graphs", ["unit_hmac"])
