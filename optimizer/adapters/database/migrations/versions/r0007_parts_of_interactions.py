"""An interaction that a policy made says which calls it was made of, and which came after its answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.database.tables import Utc

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("interactions", sa.Column("parts", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "later_parts",
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("interaction", sa.String(), nullable=False),
        sa.Column("parts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("received_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("family", "interaction"),
    )
    op.create_index("ix_later_parts_family_received", "later_parts", ["family", "received_at"], unique=False)
