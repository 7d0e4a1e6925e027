"""What is known of each family's last switch of champion that no evidence spoke for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0111"
down_revision = "0110"


def upgrade() -> None:
    op.create_table(
        "switch_watches",
        sa.Column("family", sa.String(), primary_key=True),
        sa.Column("reign", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("read_until", Utc(), nullable=False),
    )
