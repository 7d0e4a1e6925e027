"""Which configuration of a content pipeline dealt with an item: two of them are compared on live records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0118"
down_revision = "0117"


def upgrade() -> None:
    op.add_column("pipeline_records", sa.Column("config_version", sa.String(), nullable=False, server_default=""))
