"""Events say whether their arm was recomputed rather than signed, and counts of fetches by which key they came: the one bounds the other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("interactions", "feedback_events"):
        op.add_column(name, sa.Column("recomputed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("exposure_counts", sa.Column("sent_by", sa.String(), nullable=True))
