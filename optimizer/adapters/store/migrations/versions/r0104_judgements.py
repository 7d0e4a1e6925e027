"""What a judge said of an answer stands beside the answer's score."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0104"
down_revision = "0103"


def upgrade() -> None:
    op.add_column("trial_results", sa.Column("judgement", sa.JSON(), nullable=True))
