"""Failed requests are found by an index: one in hundreds fails, and a page would look at thousands for each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0131"
down_revision = "0130"
additive = True


def upgrade() -> None:
    failed = sa.text("error IS NOT NULL")
    op.create_index(
        "ix_interactions_failed",
        "interactions",
        ["family", "received_at"],
        sqlite_where=failed,
        postgresql_where=failed,
    )
