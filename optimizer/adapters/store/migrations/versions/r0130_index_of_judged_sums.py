"""How many scores of judges each family has within a time is counted by an index: the rows themselves are wide."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0130"
down_revision = "0129"
additive = True


def upgrade() -> None:
    judged = sa.text("source = 'judge' AND n_score > 0")
    op.create_index(
        "ix_stat_sums_judged",
        "stat_sums",
        ["family", "minutes", "start", "n_score"],
        sqlite_where=judged,
        postgresql_where=judged,
    )
