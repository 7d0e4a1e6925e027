"""A study keeps what its strategies measured beside the trials, such as how good a learned confidence is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("findings", sa.JSON(none_as_null=True), nullable=True))
