"""Minutes, hours and days count what was streamed, and its time to the first token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0125"
down_revision = "0124"


def upgrade() -> None:
    for table in ("minute_stats", "stat_sums"):
        for name in ("n_streamed", "n_streamed_errors"):
            op.add_column(table, sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
        op.add_column(table, sa.Column("first_token_sum_ms", sa.Float(), nullable=False, server_default="0"))
        op.add_column(table, sa.Column("first_token_histogram", sa.JSON(), nullable=False, server_default="{}"))
