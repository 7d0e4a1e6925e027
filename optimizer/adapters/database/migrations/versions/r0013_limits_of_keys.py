"""What keys use of their limits is counted for all processes together, and events say by which key they came and what the gateway recorded itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.database.tables import Utc

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_usage",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("limit", sa.String(), nullable=False),
        sa.Column("window", Utc(), nullable=False),
        sa.Column("used", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", "limit", "window"),
    )
    for name in ("interactions", "feedback_events"):
        op.add_column(name, sa.Column("sent_by", sa.String(), nullable=True))
    op.add_column("interactions", sa.Column("by_gateway", sa.Boolean(), nullable=False, server_default=sa.false()))
