"""How far judges agree with people is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0102"
down_revision = "0101"


def upgrade() -> None:
    op.create_table(
        "judge_calibrations",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("id", "family", "judge", "created_by")),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("calibration", "agreement")),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_judge_calibrations_family", "judge_calibrations", ["family"])
