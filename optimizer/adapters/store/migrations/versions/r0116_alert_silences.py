"""Alerts that send no message for a while, because somebody said so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0116"
down_revision = "0115"


def upgrade() -> None:
    op.create_table(
        "alert_silences",
        sa.Column("rule", sa.String(), primary_key=True),
        sa.Column("family", sa.String(), primary_key=True),
        sa.Column("until", Utc(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("since", Utc(), nullable=False),
    )
