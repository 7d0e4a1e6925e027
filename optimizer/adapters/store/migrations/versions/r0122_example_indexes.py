"""Lists of examples from which a prompt shows the nearest ones are kept, and how often it did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0122"
down_revision = "0121"


def upgrade() -> None:
    op.create_table(
        "example_indexes",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("family", "id", "study")),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("family", "id"),
    )
    op.create_table(
        "example_renderings",
        sa.Column("family", sa.String(), primary_key=True),
        sa.Column("variant", sa.String(), primary_key=True),
        sa.Column("n_nearest", sa.Integer(), nullable=False),
    )
