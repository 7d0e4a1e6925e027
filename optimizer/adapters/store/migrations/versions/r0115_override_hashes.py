"""A salted hash of each override's unit, by which clients that decide in process know it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0115"
down_revision = "0114"


def upgrade() -> None:
    op.add_column("overrides", sa.Column("unit_hash", sa.String(), nullable=True))
