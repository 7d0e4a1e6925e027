"""An example may be a row of a golden scenario."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0105"
down_revision = "0104"


def upgrade() -> None:
    op.add_column("examples", sa.Column("golden", sa.String(), nullable=True))
