"""What studies taught students is kept, with the examples that taught it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0119"
down_revision = "0118"


def upgrade() -> None:
    op.create_table(
        "students",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("family", "id", "study")),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("content", "rows")),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("family", "id"),
    )
