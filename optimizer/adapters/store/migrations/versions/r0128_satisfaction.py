"""Records of a content pipeline say how satisfied people were with an item, and whether it failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0128"
down_revision = "0127"
additive = True


def upgrade() -> None:
    op.add_column("pipeline_records", sa.Column("satisfaction", sa.Float(), nullable=True))
    op.add_column("pipeline_records", sa.Column("failed", sa.Boolean(), nullable=True))
