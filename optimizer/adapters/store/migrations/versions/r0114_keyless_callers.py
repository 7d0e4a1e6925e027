"""Until when requests without a key go on beside the first key, and who sent such requests, or was refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0114"
down_revision = "0113"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("keyless_until", Utc(), nullable=True))
    op.create_table(
        "callers",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("n_requests", sa.Integer(), nullable=False),
        sa.Column("last_at", Utc(), nullable=False),
    )
