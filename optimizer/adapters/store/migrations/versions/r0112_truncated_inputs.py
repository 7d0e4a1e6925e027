"""Requests of which an input was cut, by family and input: what status and metrics say of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0112"
down_revision = "0111"


def upgrade() -> None:
    op.create_table(
        "truncated_inputs",
        sa.Column("family", sa.String(), primary_key=True),
        sa.Column("input", sa.String(), primary_key=True),
        sa.Column("n_requests", sa.Integer(), nullable=False),
        sa.Column("last_at", Utc(), nullable=False),
    )
