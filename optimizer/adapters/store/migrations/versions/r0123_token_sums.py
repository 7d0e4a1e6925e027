"""Tokens are summed up by minute, hour, day and variant; of what was summed up before they are not known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0123"
down_revision = "0122"


def upgrade() -> None:
    for table in ("minute_stats", "stat_sums"):
        for name in ("n_tokens", "input_tokens", "output_tokens"):
            op.add_column(table, sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    for name in ("input_tokens", "output_tokens"):
        op.add_column("variant_performance", sa.Column(name, sa.Integer(), nullable=True))
