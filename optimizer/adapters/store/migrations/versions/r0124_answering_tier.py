"""Which tier's answer went out is kept with each result of a trial."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0124"
down_revision = "0123"


def upgrade() -> None:
    op.add_column("trial_results", sa.Column("answered_by", sa.String(), nullable=True))
